import dataclasses

import jax
import numpy as np
import pytest

import nst_jax as nst
from nst_jax.descent.fit import _bytes_needed, fitting_config
from nst_jax.objective.regions import with_regions
from nst_jax.objective.styles import make_style
from nst_jax.objective.tiles import Tiles
from tests import reference, runs
from tests.runs import features

LAYERS = dict(content_layers=("conv2_2",), style_layers=("conv1_1", "conv2_1"))


@pytest.fixture(scope="module")
def pictures():
    rng = np.random.default_rng(4)
    shapes = (40, 32, 3), (24, 36, 3), (33, 20, 3)
    return [
        rng.random(shape, np.float32) ** power
        for shape, power in zip(shapes, (1, 2, 3), strict=True)
    ]


def loss_and_gradient(params, content, style, config, image):
    weights = nst.LossWeights(grain=None)  # which is no squared distance
    terms = nst.default_loss(config, weights)
    targets = nst.make_targets(params, content, style, config, terms)
    (loss, parts), gradient = runs.loss_and_gradient(params, image, targets, weights, config)
    return loss, parts, np.asarray(gradient)


@pytest.mark.slow
@pytest.mark.parametrize("tile", [0, 64])
def test_a_blend_is_compared_with_the_mean_of_gram_matrices(vgg16_params, rng, tile):
    content, *styles = (
        rng.random(shape, np.float32) for shape in ((150, 90, 3), (140, 180, 3)) * 2
    )
    styles = [style**2 for style in styles[:2]]
    config = nst.TransferConfig(style_mix=(3, 7), tile=tile, **LAYERS)
    for image in (content, *styles):
        layers = config.content_layers + config.style_layers
        assert not tile or not Tiles(image.shape, tile, vgg16_params, layers).is_one
    targets = nst.make_targets(vgg16_params, content, styles, config)
    grams = [
        {
            layer: reference.gram(found)
            for layer, found in features(vgg16_params, style, config.style_layers).items()
        }
        for style in styles
    ]
    for layer in config.style_layers:
        mean = 0.3 * grams[0][layer] + 0.7 * grams[1][layer]
        np.testing.assert_allclose(targets["style"].wanted[layer], mean, rtol=2e-5, atol=1e-6)
        np.testing.assert_allclose(targets["style"].scale[layer], 1 / (mean**2).sum(), rtol=2e-5)


@pytest.mark.slow
def test_a_blend_has_the_gradient_of_the_sum_of_losses(vgg16_params, pictures):
    content, first, second = pictures
    config = nst.TransferConfig(style_mix=(3, 7), scaling="mean", **LAYERS)
    image = np.clip(content + 0.1, 0, 1)
    alone = nst.TransferConfig(scaling="mean", **LAYERS)
    _, _, found = loss_and_gradient(vgg16_params, content, [first, second], config, image)
    _, _, of_first = loss_and_gradient(vgg16_params, content, first, alone, image)
    _, _, of_second = loss_and_gradient(vgg16_params, content, second, alone, image)
    wanted = 0.3 * of_first + 0.7 * of_second
    np.testing.assert_allclose(found, wanted, atol=1e-5 * np.abs(wanted).max())


@pytest.mark.parametrize(
    "mix, which", [((1, 0), [0]), ((0, 5), [1]), ((2, 3), [0, 0]), ((), [1, 1])]
)
def test_one_style_in_any_mixture_is_that_style(vgg16_params, pictures, mix, which):
    content, *styles = pictures
    given = [styles[place].copy() for place in which] if len(which) > 1 else styles
    config = nst.TransferConfig(num_steps=3, optimizer="adam", **LAYERS)
    mixed = nst.TransferConfig(num_steps=3, optimizer="adam", style_mix=mix, **LAYERS)
    found = nst.stylize(vgg16_params, content, given, mixed)
    wanted = nst.stylize(vgg16_params, content, styles[which[0]], config)
    np.testing.assert_array_equal(found.image, wanted.image)
    np.testing.assert_array_equal(found.losses, wanted.losses)


def test_a_mixture_goes_on_bit_for_bit(vgg16_params, pictures):
    content, *styles = pictures
    config = nst.TransferConfig(num_steps=4, optimizer="adam", style_mix=(3, 7), **LAYERS)
    first = next(iter(nst.descend(vgg16_params, content, styles, config, every=2, seconds=0)))
    saved = {name: np.array(leaf) for name, leaf in first.snapshot().items()}
    *_, again = nst.descend(vgg16_params, content, styles, config, start=saved)
    whole = nst.stylize(vgg16_params, content, styles, config)
    np.testing.assert_array_equal(again.result().image, whole.image)


@pytest.mark.slow
def test_the_start_is_the_first_style_that_counts(vgg16_params, pictures):
    content, *styles = pictures
    mixed = nst.TransferConfig(
        num_steps=1, optimizer="adam", init="style", style_mix=(0, 1), **LAYERS
    )
    single = nst.TransferConfig(num_steps=1, optimizer="adam", init="style", **LAYERS)
    wanted = nst.stylize(vgg16_params, content, styles[1], single)
    found = nst.stylize(vgg16_params, content, styles, mixed)
    np.testing.assert_array_equal(found.image, wanted.image)
    lanes = nst.run_study(vgg16_params, content, {"both": styles}, {"style_mix": [(0, 1)]}, mixed)
    np.testing.assert_array_equal(lanes.image[0], wanted.image)


@pytest.mark.slow
def test_memory_is_estimated_of_mixtures_and_regions(vgg16_params, pictures):
    content, *styles = pictures
    config = nst.TransferConfig(style_mix=(3, 7), **LAYERS)
    estimate = lambda loss, config: fitting_config(
        vgg16_params, content, styles[0], loss, config, free_of=lambda device: 10**9
    )
    chosen, said = estimate(nst.default_loss(config), config)
    assert (chosen.style_mix == (3, 7) and "GB" in said) or not said
    half = np.full(content.shape[:2], 0.5, np.float32)
    plain = dataclasses.replace(config, style_mix=())
    regional = with_regions(nst.default_loss(plain), [nst.Region(half), nst.Region(half, style=1)])
    needed = [
        sum(_bytes_needed(vgg16_params, content, styles[0], loss, plain))
        for loss in (nst.default_loss(plain), regional)
    ]
    assert needed[0] < needed[1] < 2 * needed[0]


def test_shares_are_normalised_and_alike_images_counted_once(pictures):
    _, first, second = map(jax.numpy.asarray, pictures)
    style = make_style([first, second, first + 0], (1, 2, 5))
    assert style.shares == (0.75, 0.25)
    assert [image.shape for image in style.images] == [first.shape, second.shape]
    assert make_style([first, second], ()).shares == (0.5, 0.5)


@pytest.mark.slow
def test_a_mixture_is_an_axis_of_one_program(vgg16_params, pictures, traces):
    content, *styles = pictures
    mixes = [(1, 0), (0.5, 0.5), (0, 1)]
    config = nst.TransferConfig(num_steps=3, optimizer="adam", **LAYERS)
    result = nst.run_study(vgg16_params, content, {"both": styles}, {"style_mix": mixes}, config)
    assert len(traces) == 1
    assert [lane.config.style_mix for lane in result.lanes] == mixes
    for mix, image in zip(mixes, result.image, strict=True):
        own = nst.TransferConfig(num_steps=3, optimizer="adam", style_mix=mix, **LAYERS)
        np.testing.assert_array_equal(image, nst.stylize(vgg16_params, content, styles, own).image)


@nst.term
class Pixels(nst.Term):
    layers = ("image",)

    def fields(self, view):
        return {"image": view.features["image"]}

    def measure(self, view, fields):
        return (view.shares["image"] * (view.features["image"] - fields["image"]) ** 2).sum()

    def distance(self, found, wanted):
        return {"all": found}


@pytest.mark.parametrize(
    "mix, loss, said",
    [
        ((1, 2, 3), None, "style_mix has 3 numbers, but there are 2 style images"),
        ((1,), None, "style_mix has 1 number, but there are 2 style images"),
        (
            (),
            Pixels() + nst.content(("conv2_2",)),
            "the term pixels aims at positions of",
        ),
    ],
)
def test_mixtures_that_cannot_be_are_named(vgg16_params, pictures, mix, loss, said):
    content, *styles = pictures
    config = nst.TransferConfig(num_steps=2, optimizer="adam", style_mix=mix, **LAYERS)
    with pytest.raises(nst.ConfigError, match=said):
        nst.stylize(vgg16_params, content, styles, config, loss=loss)


@pytest.mark.parametrize(
    "mix, said",
    [
        ((0, 0), "no share above 0"),
        ((1, -1), "a share of style_mix is -1"),
        ("37", "style_mix is '37'; give a number for each"),
        (3, "style_mix is 3; give a number for each"),
    ],
)
def test_shares_are_numbers_of_which_one_counts(mix, said):
    with pytest.raises(nst.ConfigError, match=said):
        nst.TransferConfig(style_mix=mix)


@pytest.mark.slow
def test_layers_may_be_of_other_mixtures_than_the_run(vgg16_params, pictures):
    content, first, second = pictures
    mixes = {"conv1_1": (1, 0), "conv2_1": (3, 1), "conv2_2": ()}
    terms = {layer: nst.style((layer,), style_mix=mix) for layer, mix in mixes.items()}
    loss = nst.Loss({"content": nst.content(("conv2_2",)), **terms})
    config = nst.TransferConfig(style_mix=(1, 4), num_steps=1, optimizer="adam")
    targets = nst.make_targets(vgg16_params, content, [first, second], config, loss)
    found = [
        reference.features(vgg16_params, image.astype(float)) for image in (content, first, second)
    ]
    value = 0
    shares = ((1, 0), (0.75, 0.25), (0.2, 0.8))
    for (layer, term), (one, other) in zip(terms.items(), shares, strict=True):
        gram, *own = (reference.gram(features[layer]) for features in found)
        aim = one * own[0] + other * own[1]
        np.testing.assert_allclose(targets[layer].wanted[layer], aim, rtol=2e-5, atol=1e-6)
        value += float(term.weight) * ((gram - aim) ** 2).sum() / (aim**2).sum()
    result = nst.stylize(vgg16_params, content, [first, second], config, loss=loss)
    np.testing.assert_allclose(result.losses[0], value, rtol=1e-4)


@pytest.mark.slow
def test_layers_of_one_mixture_each_run_as_any_loss(vgg16_params, pictures):
    content, *styles = pictures
    fine, coarse = (
        20 * nst.style((layer,), style_mix=mix)
        for layer, mix in (("conv1_1", (1, 0)), ("conv2_1", (0, 1)))
    )
    loss = nst.Loss({"content": nst.content(("conv2_2",)), "fine": fine, "coarse": coarse})
    config = nst.TransferConfig(num_steps=3, optimizer="adam")
    run = lambda **how: nst.stylize(vgg16_params, content, styles, config, loss=loss, **how)
    whole = run()
    # The same as two terms of one image each, whose loss is the sum.
    alone = [
        nst.stylize(vgg16_params, content, image, config, loss=nst.Loss({"own": part}))
        for image, part in zip(
            styles, (nst.style(("conv1_1",)), nst.style(("conv2_1",))), strict=True
        )
    ]
    parts = whole.terms["fine"]["conv1_1"][0], whole.terms["coarse"]["conv2_1"][0]
    np.testing.assert_allclose(parts, [result.losses[0] for result in alone], rtol=1e-5)
    study = nst.run_study(
        vgg16_params, content, {"both": styles}, {"loss": {"own": loss, "half": loss / 2}}, config
    )
    np.testing.assert_array_equal(study.image[0], whole.image)
    balanced = nst.balanced(vgg16_params, content, styles, config, loss=loss)
    assert balanced["fine"].part_weights == {"conv1_1": 1}
    for mix, said in (((1, 2, 3), "style_mix has 3 numbers"), ((0, 0), "has no share above 0")):
        with pytest.raises(nst.ConfigError, match=said):
            term = nst.Gram(layers=("conv1_1",), style_mix=mix)
            nst.stylize(vgg16_params, content, styles, config, loss=term)
    mask = np.ones(content.shape[:2], np.float32)
    with pytest.raises(nst.ConfigError, match="leave one of the two out"):
        run(regions=[nst.Region(mask)])
    with pytest.raises(nst.ConfigError, match="style_mix has 2 numbers, but there is 1"):
        nst.stylize(vgg16_params, content, styles[0], config, loss=loss)
