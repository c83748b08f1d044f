import dataclasses

import jax
import numpy as np
import pytest

import nst_jax as nst
from nst_jax.descent.resizing import resize
from nst_jax.jobs.checkpoint import Saved
from nst_jax.jobs.job import Job
from nst_jax.jobs.outputs import with_saved_weights
from tests import reference

STYLE_LAYERS = ("conv1_1", "conv2_1", "conv3_1")
CONFIG = nst.TransferConfig(
    num_steps=3, optimizer="adam", content_layers=("conv2_2",), style_layers=STYLE_LAYERS
)
BALANCED = dataclasses.replace(CONFIG, balance=True)


@pytest.fixture(scope="module")
def pictures():
    rng = np.random.default_rng(3)
    return rng.random((32, 24, 3), np.float32), rng.random((30, 28, 3), np.float32) ** 3


def pulls(params, style, image, layers=STYLE_LAYERS):
    """‖∂L_l/∂x‖₂ of each layer with relative scaling, in float64."""
    wanted = reference.features(params, style.astype(float))
    found = reference.forward(params, image.astype(float), "avg")
    norms = []
    for layer in layers:
        aim = reference.gram(wanted[layer])
        _, slope = reference.style_term(found[layer][0], aim, 1 / (aim**2).sum())
        norms.append(np.linalg.norm(reference.backward(params, found, {layer: slope}, "avg")))
    return np.array(norms)


@pytest.mark.slow
def test_all_layers_pull_alike_and_their_sum_stays(vgg16_params, pictures):
    content, style = pictures
    norms = pulls(vgg16_params, style, content)
    assert norms.max() > 1.2 * norms.min()
    matched = nst.LossWeights(neighbours=2.0)
    loss = nst.balanced(vgg16_params, content, style, CONFIG, matched)
    assert loss["neighbours"].part_weights == {"conv3_1": 0.5, "conv4_1": 0.5}  # no style layers
    weights = loss["style"].part_weights
    own = np.array([weights[layer] for layer in STYLE_LAYERS])
    np.testing.assert_allclose(own * norms, (own * norms).mean(), rtol=1e-4)
    np.testing.assert_allclose(own.sum(), 1, rtol=1e-6)
    # Likewise of terms of one's own, from any image, whatever the terms weigh.
    start = np.ascontiguousarray(content[::-1])
    fine = nst.style(STYLE_LAYERS[:2])
    fine = dataclasses.replace(fine, part_weights={"conv1_1": 1.0, "conv2_1": 2.0})
    loss = nst.Loss({"fine": 7 * fine, "deep": nst.style(("conv3_1",)), "content": nst.content()})
    found = nst.balanced(vgg16_params, content, style, CONFIG, loss=loss, initial=start)
    own = np.array([found["fine"].part_weights[layer] for layer in STYLE_LAYERS[:2]])
    pulled = own * pulls(vgg16_params, style, start, STYLE_LAYERS[:2])
    np.testing.assert_allclose(pulled, pulled.mean(), rtol=1e-4)
    np.testing.assert_allclose(own.sum(), 3, rtol=1e-6)
    assert found["deep"].part_weights == {"conv3_1": 1} and found["fine"].weight == 7
    assert found["content"].part_weights is None


@pytest.mark.slow
def test_a_run_is_one_of_the_weights_that_it_finds(vgg16_params, pictures):
    loss = nst.balanced(vgg16_params, *pictures, CONFIG)
    given = nst.stylize(vgg16_params, *pictures, CONFIG, loss=loss)
    found = nst.stylize(vgg16_params, *pictures, BALANCED)
    plain = nst.stylize(vgg16_params, *pictures, CONFIG)
    np.testing.assert_array_equal(found.image, given.image)
    np.testing.assert_array_equal(found.losses, given.losses)
    assert found.losses[0] != plain.losses[0]
    run = lambda **how: nst.descend(vgg16_params, *pictures, BALANCED, every=2, seconds=0, **how)
    first = next(iter(run()))
    *_, again = run(start={name: np.array(leaf) for name, leaf in first.snapshot().items()})
    np.testing.assert_array_equal(again.result().image, found.image)
    np.testing.assert_array_equal(again.result().losses, found.losses)


@pytest.mark.slow
@pytest.mark.usefixtures("optimised")
def test_each_lane_has_its_own_as_a_single_run_would(vgg16_params, pictures):
    config = dataclasses.replace(BALANCED, init="noise", num_steps=2)
    keys, style = jax.random.split(jax.random.key(1), 2), np.array([5.0, 30.0])
    batch = nst.stylize_batch(
        vgg16_params, *pictures, config, nst.LossWeights(style=style), keys=keys
    )
    for lane in range(2):
        weights = nst.LossWeights(style=style[lane])
        single = nst.stylize(vgg16_params, *pictures, config, weights, key=keys[lane])
        np.testing.assert_array_equal(batch.losses[lane], single.losses)
        np.testing.assert_array_equal(batch.image[lane], single.image)
    study = nst.run_study(vgg16_params, *pictures, {"balance": [False, True]}, CONFIG)
    for lane, own in enumerate((CONFIG, BALANCED)):
        single = nst.stylize(vgg16_params, *pictures, own)
        np.testing.assert_array_equal(study.image[lane], single.image)


@pytest.mark.slow
def test_it_is_measured_where_the_descent_begins(vgg16_params, pictures):
    content, style = (np.kron(image, np.ones((2, 2, 1), np.float32)) for image in pictures)
    config = dataclasses.replace(CONFIG, coarse_steps=(0.5,))
    weights = nst.balanced(vgg16_params, content, style, config)["style"].part_weights
    half = np.array(resize(content, (32, 24))), np.array(resize(style, (30, 28)))
    own = np.array([weights[layer] for layer in STYLE_LAYERS])
    pulled = own * pulls(vgg16_params, half[1], half[0])
    np.testing.assert_allclose(pulled, pulled.mean(), rtol=1e-4)


@pytest.mark.slow
def test_in_regions_a_layer_is_what_it_comes_to_over_all(vgg16_params, pictures):
    content = pictures[0]
    alone = nst.balanced(vgg16_params, *pictures, CONFIG)["style"].part_weights
    half = np.full(content.shape[:2], 0.5, np.float32)
    regions = [nst.Region(half, name="a"), nst.Region(half, name="b")]
    found = nst.balanced(vgg16_params, *pictures, CONFIG, regions=regions)
    assert set(found) == {"content", "style", "grain", "total_variation"}
    for layer, weight in found["style"].part_weights.items():
        np.testing.assert_allclose(weight, alone[layer], rtol=1e-4)
    given = nst.stylize(vgg16_params, *pictures, CONFIG, loss=found, regions=regions)
    own = nst.stylize(vgg16_params, *pictures, BALANCED, regions=regions)
    np.testing.assert_array_equal(given.losses, own.losses)


def test_where_a_layer_is_met_already_the_weights_stay(vgg16_params, pictures, caplog):
    content, style = pictures
    loss = nst.balanced(vgg16_params, content, style[:, :24], CONFIG, initial=content)
    assert not caplog.text and loss["style"].part_weights["conv1_1"] != 1 / 3
    loss = nst.balanced(vgg16_params, content, content, CONFIG)
    assert "the style term of conv1_1 is met at the start already" in caplog.text
    assert set(loss["style"].part_weights.values()) == {np.float32(1 / 3)}


def test_weights_of_layers_are_given_or_found(vgg16_params, pictures):
    weights = nst.LossWeights(style_layers=dict.fromkeys(STYLE_LAYERS, 1.0))
    for run in (nst.stylize, nst.stylize_batch, nst.balanced):
        with pytest.raises(nst.ConfigError, match=r"balance is on, .* leave one of the two out"):
            run(vgg16_params, *pictures, BALANCED, weights)
    axes = {"layer_weights": {"fine": {"conv1_1": 1.0}}}
    with pytest.raises(nst.ConfigError, match=r"balance is on, .* leave one of the two out"):
        nst.run_study(vgg16_params, *pictures, axes, BALANCED)


def test_what_was_found_stays_when_a_run_goes_on(tmp_path):
    job = Job(tmp_path / "a", (tmp_path / "b",), tmp_path / "c.png", nst.Preset(BALANCED))
    found = {"conv1_1": 0.5, "conv2_1": 0.3, "conv3_1": 0.2}
    again = with_saved_weights(job, Saved({"weights_by_layer": found}, {}))
    assert again.weights.style_layers == found and again.weights.content_layers is None
    plain = dataclasses.replace(job, preset=nst.Preset(CONFIG))
    assert with_saved_weights(plain, Saved({"weights_by_layer": found}, {})) == plain
    with pytest.raises(nst.ConfigError, match="layer_weights of the record"):
        with_saved_weights(job, Saved({"weights_by_layer": {"conv1_1": -1}}, {}))


@pytest.mark.slow
def test_a_lane_without_style_is_one_beside_others(vgg16_params, pictures):
    loss = lambda weights: nst.content(("conv2_2",)) + weights * nst.style(STYLE_LAYERS)
    lanes = loss(np.array([0.0, 20.0]))
    batch = nst.stylize_batch(vgg16_params, *pictures, BALANCED, loss=lanes)
    single = nst.stylize(vgg16_params, *pictures, BALANCED, loss=loss(20.0))
    np.testing.assert_allclose(batch.losses[1], single.losses, rtol=1e-5)


def test_a_layer_that_no_region_is_large_enough_for_leaves_its_weight_to_the_others(vgg16_params):
    rng = np.random.default_rng(5)
    content, style = rng.random((2, 64, 48, 3), np.float32)
    mask = np.zeros(content.shape[:2], np.float32)
    mask[:12, :12] = 1  # nine positions of conv3_1
    layers = ("conv1_1", "conv2_1", "conv3_1")
    config = nst.TransferConfig(content_layers=("conv2_2",), style_layers=layers)
    found = nst.balanced(vgg16_params, content, style, config, regions=[nst.Region(mask)])
    weights = found["style"].part_weights
    assert weights["conv3_1"] == 0 and 0 < weights["conv1_1"] != weights["conv2_1"] > 0
    np.testing.assert_allclose(sum(weights.values()), 1, rtol=1e-6)
