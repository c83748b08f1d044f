import jax
import numpy as np
import pytest

import nst_jax as nst
from nst_jax.report import metrics
from nst_jax.report.evaluate import LAYERS, SCALES, means_over_layers
from tests import reference


@pytest.fixture(scope="module")
def images():
    """A content, a style of another size, and a result."""
    rng = np.random.default_rng(2)
    return {
        "content": rng.random((48, 40, 3), np.float32),
        "style": rng.random((96, 80, 3), np.float32) ** 2,
        "result": rng.random((48, 40, 3), np.float32),
    }


@pytest.fixture(scope="module")
def found(vgg16_params, images):
    return nst.evaluate(vgg16_params, **images)


def positions(params, image):
    """By layer, from the equations, in float64."""
    shallow = {name: param for name, param in params.items() if not name.startswith("conv5")}
    features = reference.features(shallow, image, "max")
    return {layer: found.reshape(-1, found.shape[-1]) for layer, found in features.items()}


@pytest.mark.slow
def test_numbers_are_of_the_layers_they_name(vgg16_params, images, found):
    content, style, result = images["content"], images["style"], images["result"]
    assert found.colours == metrics.colour_distance(result, style)
    assert found.lpips == nst.lpips_distance(content, result)
    kept = positions(vgg16_params, content)["conv3_1"]
    for scale in SCALES:
        painted, wanted = (positions(vgg16_params, image) for image in (result, style))
        if scale == "full":
            expected = metrics.structure_distance(kept, painted["conv3_1"])
            assert found.cfsd == pytest.approx(expected, rel=1e-3)
        for layer in LAYERS:
            expected = metrics.gram_distance(painted[layer], wanted[layer])
            assert found.gram[scale][layer] == pytest.approx(expected, rel=1e-3)
            if scale == "full":
                expected = metrics.gaussian_distance(painted[layer], wanted[layer])
                assert found.w2[layer] == pytest.approx(expected, rel=1e-3)
        result, style = metrics.halved(result), metrics.halved(style)


def test_means_are_over_all_layers_or_missing(found):
    numbers, mean = (
        found.numbers(),
        lambda by_layer: pytest.approx(np.mean(list(by_layer.values()))),
    )
    means = means_over_layers(numbers)
    assert list(means)[:3] == ["LPIPS", "CFSD", "colour"] and means["CFSD"] == 1e6 * found.cfsd
    assert (means["LPIPS"], means["colour"]) == (found.lpips, found.colours)
    grams = [means[heading] for heading in ("Gram", "Gram/2", "Gram/4")]
    assert grams == [mean(found.gram[scale]) for scale in SCALES]
    assert means["W2"] == mean(found.w2) and means["sliced"] == mean(found.sliced)
    # of a record anything may be missing
    lacking = means_over_layers(numbers | {"w2_conv1_2": None, "cfsd": None})
    assert lacking == means | {"W2": None, "CFSD": None}
    assert set(means_over_layers({}).values()) == {None}


@pytest.mark.slow
def test_nothing_is_missing_from_the_style_itself(vgg16_params, images, found):
    content, style = images["style"][:, ::-1], images["style"]
    itself = nst.evaluate(vgg16_params, content, style, style)
    assert itself.colours == 0 and itself.cfsd > 0
    assert all(value == 0 for scale in itself.gram.values() for value in scale.values())
    assert max(itself.w2.values()) < 1e-9 and max(itself.sliced.values()) == 0
    assert min(found.w2.values()) > 1e-3 and min(found.sliced.values()) > 1e-3
    kept = nst.evaluate(vgg16_params, images["result"], style, images["result"])
    assert kept.cfsd == 0 and kept.lpips == pytest.approx(0, abs=1e-6)
    assert kept.numbers() == found.numbers() | {"cfsd": kept.cfsd, "lpips": kept.lpips}


def test_layers_are_those_that_no_run_has_by_default():
    for preset in nst.PRESETS.values():
        used = {*preset.config.content_layers, *preset.config.style_layers}
        assert not used & set(LAYERS)


@pytest.mark.slow
def test_strict_modes_of_jax_change_nothing(vgg16_params, images, found):
    params = jax.device_put(vgg16_params)
    with (
        jax.transfer_guard("disallow"),
        jax.numpy_rank_promotion("raise"),
        jax.numpy_dtype_promotion("strict"),
    ):
        assert nst.evaluate(params, **images) == found


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"content": np.zeros((40, 48, 3), np.float32)}, "bring the content to the size"),
        ({"style": np.zeros((200, 31, 3), np.float32)}, "the style image has 31 × 200 pixels"),
        ({"result": np.zeros((48, 40, 3), np.uint8)}, "the result image is of uint8"),
        ({"style": np.full((48, 40, 3), np.nan)}, "not finite"),
    ],
)
def test_wrong_images_are_told(changed, words, vgg16_params, images):
    with pytest.raises(nst.ConfigError, match=words):
        nst.evaluate(vgg16_params, **(images | changed))
