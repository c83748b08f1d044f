"""Losses of a user's own: terms defined here with public names alone, through everything that a run
can be."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nst_jax as nst
from nst_jax.config import StyleLoss
from tests.runs import finished, followed, loss_and_gradient, total_loss

LAYERS = ("conv1_1", "conv2_1", "conv3_1")


@jax.custom_jvp
def root(matrix):
    """The square root of a positive semidefinite matrix."""
    values, vectors = jnp.linalg.eigh(matrix)
    return vectors * jnp.sqrt(jnp.maximum(values, 1e-5 * values[-1])) @ vectors.T


@root.defjvp
def root_tangent(primals, tangents):
    # X S + S X = dM for S = dX: solved among the eigenvectors, whose own derivative would divide by
    # gaps between eigenvalues.
    values, vectors = jnp.linalg.eigh(primals[0])
    roots = jnp.sqrt(jnp.maximum(values, 1e-5 * values[-1]))
    turned = vectors.T @ tangents[0] @ vectors / (roots[:, None] + roots[None, :])
    return root(primals[0]), vectors @ turned @ vectors.T


@nst.term
class Wasserstein(nst.Term):
    """Wasserstein-2 distance of Gaussians: |μ − μ'|² + tr Σ + tr Σ' − 2 tr (Σ'^½ Σ Σ'^½)^½."""

    layers: tuple[str, ...] = nst.static(LAYERS)

    def measure(self, view, fields):
        def moments(layer):
            found, shares = view.features[layer], view.shares[layer]
            return jnp.sum(shares * found, (0, 1)), jnp.einsum(
                "hwi,hwj->ij", shares * found, found, precision="highest"
            )

        return {layer: moments(layer) for layer in self.layers}

    def aim(self, measured):
        def prepared(mean, second):
            covariance = second - jnp.outer(mean, mean)
            return mean, jnp.trace(covariance), root(covariance)

        return {layer: prepared(*moments) for layer, moments in measured.items()}

    def distance(self, found, wanted):
        def between(mean, second, wanted_mean, wanted_trace, wanted_root):
            covariance = second - jnp.outer(mean, mean)
            common = jnp.trace(root(wanted_root @ covariance @ wanted_root))
            return (
                jnp.sum((mean - wanted_mean) ** 2)
                + jnp.trace(covariance)
                + wanted_trace
                - 2 * common
            )

        return {layer: between(*found[layer], *wanted[layer]) for layer in self.layers}


@nst.term
class Contrast(nst.Term):
    """Squared difference of the mean roughness, read two pixels aside, and of the mean features,
    with a number of its own."""

    reach = 2
    power: Any = 1.0
    layers: tuple[str, ...] = nst.static(("image", "conv1_1"))

    def measure(self, view, fields):
        pixels, shares = view.features["image"], view.shares["image"]
        aside = jnp.square(pixels[:, 2:] - pixels[:, :-2])
        own = jnp.broadcast_to(shares, (*pixels.shape[:2], 1))[:, :-2]
        return {
            "rough": jnp.sum(own * aside, (0, 1)),
            "features": jnp.sum(view.shares["conv1_1"] * view.features["conv1_1"], (0, 1)),
        }

    def distance(self, found, wanted):
        return {
            part: self.power * jnp.sum(jnp.square(found[part] - wanted[part])) for part in found
        }


class Undecorated(nst.Term):
    """What a user may forget."""


def own_loss():
    return nst.content(("conv2_2",)) + 20 * nst.style(LAYERS) + 0.5 * Contrast()


@pytest.fixture
def pair(rng):
    return rng.random((186, 250, 3)).astype(np.float32), rng.random((64, 80, 3)).astype(np.float32)


def test_a_sum_of_terms_is_the_default_loss(vgg16_params, pair):
    config = nst.TransferConfig(content_layers=("conv2_2",), style_layers=LAYERS)
    image = pair[0][::-1].copy()
    sums = nst.content(("conv2_2",)) + 20 * nst.style(LAYERS) + 0.3 * nst.TotalVariation()
    sums += 0.1 * nst.grain()
    expected, parts = total_loss(
        vgg16_params,
        image,
        nst.make_targets(vgg16_params, *pair, config),
        nst.LossWeights(1.0, 20.0, 0.3),
        config,
    )
    found, own = total_loss(
        vgg16_params, image, nst.make_targets(vgg16_params, *pair, config, sums), sums, config
    )
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert list(sums) == ["content", "style", "total_variation", "grain"]
    jax.tree.map(
        lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-6),
        own["style"],
        parts["style"],
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("loss", "loss_tolerance", "gradient_tolerance"),
    [
        (
            nst.Loss(
                {
                    "mine": Contrast(),
                    "content": nst.content(("conv2_2",)),
                    "fine": nst.style(("conv1_1",)),
                }
            ),
            1e-5,
            1e-5,
        ),
        (0.1 * nst.TotalVariation() + Contrast(), 1e-5, 1e-5),
        # Roots of eigenvalues that are rounding alone lose half of float32's digits, whole as well
        # as in tiles.
        (Wasserstein() + nst.content(("conv2_2",)), 1e-4, 1e-4),
    ],
)
@pytest.mark.parametrize("width", [250, 191])
def test_in_tiles_as_whole(
    vgg16_params, pair, rng, loss, loss_tolerance, gradient_tolerance, width
):
    content, style = pair[0][:, :width], pair[1]
    whole, tiled = nst.TransferConfig(), nst.TransferConfig(tile=128 if width == 250 else 64)
    image = jnp.asarray(rng.random(content.shape), jnp.float32)
    targets = nst.make_targets(vgg16_params, content, style, whole, loss)
    (value, _), gradient = loss_and_gradient(vgg16_params, image, targets, loss, whole)
    (tiled_value, _), tiled_gradient = loss_and_gradient(vgg16_params, image, targets, loss, tiled)
    np.testing.assert_allclose(tiled_value, value, rtol=loss_tolerance)
    assert np.abs(tiled_gradient - gradient).max() <= gradient_tolerance * np.abs(gradient).max()


def test_a_measure_that_reads_aside_without_saying_so_differs_in_tiles(vgg16_params, pair, rng):
    """So the reach that terms declare is what makes the test above pass."""

    @nst.term
    class Silent(Contrast):
        reach = 0
        layers: tuple[str, ...] = nst.static(("image",))

        def measure(self, view, fields):
            return {"rough": Contrast.measure(self, view._replace(**twice(view)), fields)["rough"]}

    def twice(view):
        return {
            name: {**getattr(view, name), "conv1_1": getattr(view, name)["image"]}
            for name in ("features", "shares")
        }

    content = rng.random((192, 192, 3)).astype(np.float32)  # whose patches have no slack
    image = jnp.asarray(rng.random(content.shape), jnp.float32)
    targets = nst.make_targets(vgg16_params, content, pair[1], nst.TransferConfig(), Silent())
    values = [
        loss_and_gradient(vgg16_params, image, targets, Silent(), nst.TransferConfig(tile=tile))[0][
            0
        ]
        for tile in (0, 64)
    ]
    assert abs(float(values[1] / values[0]) - 1) > 1e-4


@pytest.mark.slow
@pytest.mark.usefixtures("optimised")
def test_lanes_of_a_users_loss_equal_single_runs(vgg16_params, pair):
    content, style = pair[0][:40, :48], pair[1]
    weights, powers = np.array([0.0, 0.5, 2.0, 8.0]), np.array([1.0, 1.0, 2.0, 0.5])
    config = nst.TransferConfig(num_steps=6, optimizer="adam")
    make = lambda weight, power: (
        nst.content(("conv2_2",)) + 20 * nst.style(LAYERS) + Contrast(weight=weight, power=power)
    )
    batch = nst.stylize_batch(vgg16_params, content, style, config, loss=make(weights, powers))
    assert batch.terms["contrast"]["rough"].shape == (4, 6)
    for lane, (weight, power) in enumerate(zip(weights, powers, strict=True)):
        single = nst.stylize(vgg16_params, content, style, config, loss=make(weight, power))
        np.testing.assert_array_equal(batch.image[lane], single.image)
        np.testing.assert_array_equal(batch.losses[lane], single.losses)
        assert single.losses[-1] < single.losses[0]


@pytest.mark.slow
def test_a_run_of_a_users_loss_goes_on_bit_for_bit(vgg16_params, pair):
    content, style = pair[0][:40, :48], pair[1]
    config, loss = nst.TransferConfig(num_steps=20), own_loss()
    whole = nst.stylize(vgg16_params, content, style, config, loss=loss)
    cut, saved = followed(nst.descend(vgg16_params, content, style, config, loss=loss), 3)
    assert 0 < cut.num_steps < 20
    resumed = finished(
        nst.descend(vgg16_params, content, style, config, loss=loss, start=saved[-1])
    )
    np.testing.assert_array_equal(resumed.image, whole.image)
    np.testing.assert_array_equal(resumed.losses, whole.losses)
    with pytest.raises(nst.ConfigError, match="what was saved is not of this run"):
        next(
            nst.descend(
                vgg16_params, content, style, config, loss=nst.style(LAYERS), start=saved[-1]
            )
        )


ROWS_CODE = """
import sys, jax, numpy as np, nst_jax as nst

sys.path.insert(0, sys.argv[1])
from tests import reference
from tests.objective import test_terms

assert len(jax.local_devices()) == 4
images = np.load(sys.argv[2])
run = lambda devices, loss: nst.stylize(
    reference.random_params("vgg16", narrow=9),
    images["content"],
    images["style"],
    nst.TransferConfig(num_steps=3, optimizer="adam"),
    loss=loss,
    devices=devices,
)
for loss, tolerance in (
    (test_terms.own_loss(), 1e-4),
    (test_terms.Wasserstein() + nst.content(("conv2_2",)), 1e-2),
):
    shared, alone = run(jax.local_devices(), loss), run(None, loss)
    np.testing.assert_allclose(shared.losses, alone.losses, rtol=tolerance)
    np.testing.assert_allclose(shared.losses[0], alone.losses[0], rtol=tolerance / 10)
"""


@pytest.mark.slow
def test_devices_share_the_rows_of_a_users_loss(pair, tmp_path):
    np.savez(tmp_path / "images.npz", content=pair[0][:64, :48], style=pair[1])
    environment = os.environ | {
        "JAX_NUM_CPU_DEVICES": "4",
        "JAX_PLATFORMS": "cpu",
    }
    command = [sys.executable, "-c", ROWS_CODE, Path(__file__).parents[2], tmp_path / "images.npz"]
    subprocess.run(command, env=environment, check=True, cwd=tmp_path)


@pytest.mark.slow
def test_a_study_of_losses_reports_their_terms_by_name(vgg16_params, pair):
    losses = {
        "plain": nst.content(("conv2_2",)) + 20 * nst.style(LAYERS),
        "mine": own_loss(),
        "more": 3 * own_loss(),
    }
    config = nst.TransferConfig(num_steps=4, optimizer="adam")
    content, style = pair[0][:40, :48], pair[1]
    study = nst.run_study(vgg16_params, content, style, {"loss": losses}, config)
    table = study.to_dataframe()
    assert list(table["loss"]) == ["plain", "mine", "more"] and table["style_weight"].isna().all()
    assert {"contrast_rough", "contrast_features", "content_conv2_2", "style_conv1_1"} <= set(
        table.columns
    )
    assert (
        np.isnan(study.terms["contrast"]["rough"][0]).all()
        and np.isfinite(study.terms["contrast"]["rough"][1:]).all()
    )
    single = nst.stylize(vgg16_params, content, style, config, loss=losses["mine"])
    np.testing.assert_array_equal(study.image[1], single.image)


@pytest.mark.slow
@pytest.mark.parametrize("lanes_at_once", [1, 3])
def test_each_lane_of_a_study_aims_at_its_own_images(vgg16_params, rng, lanes_at_once):
    contents = {name: rng.random((32, 36, 3)).astype(np.float32) for name in ("a", "b")}
    styles = {name: rng.random((32, 32, 3)).astype(np.float32) for name in ("u", "v", "w")}
    losses = {
        f"power {power}": nst.content(("conv1_2",))
        + nst.style(("conv1_1",))
        + Contrast(power=power)
        for power in (1.0, 3.0)
    }
    config = nst.TransferConfig(num_steps=3, optimizer="adam")
    study = nst.run_study(
        vgg16_params, contents, styles, {"loss": losses}, config, lanes_at_once=lanes_at_once
    )
    assert len(study.lanes) == 12
    for lane, image in zip(study.lanes, study.image, strict=True):
        single = nst.stylize(
            vgg16_params, contents[lane.content], styles[lane.style], config, loss=losses[lane.loss]
        )
        np.testing.assert_array_equal(image, single.image)


def test_terms_are_added_and_multiplied_as_numbers_are():
    assert list(sum([nst.content(), nst.style()])) == ["content", "style"]
    assert list(sum([nst.content() + nst.style(), nst.edges()])) == ["content", "style", "edges"]
    assert (nst.style() / 4).weight == 0.25 and ((nst.content() + nst.style()) / 2)[
        "style"
    ].weight == 0.5
    assert (np.float64(3) * (nst.content() + nst.style()))["content"].weight == 3
    for made in (
        np.array([5.0, 20.0]) * nst.style(),
        [5.0, 20.0] * nst.style(),
        nst.style(weight=[2.5, 10.0]) * 2,
    ):
        np.testing.assert_array_equal(made.weight, [5.0, 20.0])


@pytest.mark.slow
@nst.term
class Where(nst.Term):
    """Squared distance of a plane of mean activations, which is wanted by position, with a field of
    two axes."""

    layers = ("conv2_1",)
    source = "content"

    def fields(self, view):
        return {"conv2_1": view.features["conv2_1"].mean(-1)}

    def measure(self, view, fields):
        missing = view.features["conv2_1"].mean(-1) - fields["conv2_1"]
        return jnp.sum(view.shares["conv2_1"] * jnp.square(missing)[..., None])

    def aim(self, measured):
        return ()

    def distance(self, found, wanted):
        return {"all": found}


@pytest.mark.slow
def test_what_is_wanted_by_position_is_the_same_in_tiles(vgg16_params, pair, rng):
    image, loss = jnp.asarray(rng.random(pair[0].shape), jnp.float32), nst.Loss({"where": Where()})
    found = []
    for tile in (0, 64):
        config = nst.TransferConfig(tile=tile)
        targets = nst.make_targets(vgg16_params, *pair, config, loss)
        found.append(
            (
                targets["where"].fields["conv2_1"],
                *loss_and_gradient(vgg16_params, image, targets, loss, config),
            )
        )
    for whole, tiled in zip(*map(jax.tree.leaves, found), strict=True):
        np.testing.assert_allclose(tiled, whole, atol=1e-5 * np.abs(whole).max())


@nst.term
class Smooth(nst.Term):
    """Nothing of which a black image has, so that no scale can be told."""

    layers = ("image",)

    def measure(self, view, fields):
        return jnp.sum(view.shares["image"] * jnp.square(view.features["image"]), (0, 1))

    def aim(self, measured):
        return ()

    def distance(self, found, wanted):
        return {"all": jnp.sum(found)}


@nst.term
class Scalar(Smooth):
    """Of which `distance` gives no parts."""

    def distance(self, found, wanted):
        return jnp.sum(found)


@nst.term
class Blind(Smooth):
    """Which looks at a layer that it does not name."""

    def measure(self, view, fields):
        return jnp.sum(view.features["conv1_1"])


@nst.term
class Lettered(Smooth):
    """Which has a field for text that is not static."""

    letters: str = "a"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"loss": Smooth()}, "the term smooth finds a black image at no distance"),
        ({"loss": Scalar()}, "the method distance of the term scalar gives no dict"),
        (
            {"loss": Blind()},
            "the term blind looks for 'conv1_1', which is not among its layers: image",
        ),
        ({"loss": nst.style("conv1_1")}, "layers of the term style is the text 'conv1_1'"),
        ({"loss": nst.style(())}, "the term style has no layers"),
        (
            {"weights": nst.LossWeights(style=-1.0)},
            "weights.style is -1.0; it must be a finite number, at least 0",
        ),
        ({"loss": "gram"}, "loss is 'gram'; give a sum of terms"),
        ({"loss": nst.Loss({})}, "the loss has no terms"),
        ({"loss": own_loss(), "weights": nst.LossWeights()}, "both weights and loss are given"),
        ({"loss": nst.style(("conv9_1",))}, "unknown layer 'conv9_1'"),
        (
            {"loss": nst.Gram(source="paper")},
            "the term style aims at 'paper'; its source must be one of content, style",
        ),
        (
            {"loss": Undecorated()},
            "no term; make a class of nst.Term, with the decorator @nst.term",
        ),
        ({"loss": nst.style(LAYERS, weight=float("nan"))}, r"loss\['style'\].weight is .*nan"),
        (
            {"loss": nst.Gram(layers=("conv1_1",), part_weights={"conv2_1": 1.0})},
            "the term style weighs conv2_1, but its parts are conv1_1",
        ),
        (
            {"loss": nst.Gram(layers=("conv1_1",), region="sky")},
            "the term style names the region 'sky'; leave that out",
        ),
        ({"loss": nst.content(("conv1_1",), weight=None)}, "weight of the term content is None"),
        (
            {"loss": nst.Gram(layers=("conv1_1",), part_weights={"conv1_1": None})},
            "a weight of the term style is None; give a number",
        ),
        ({"loss": Lettered()}, r"loss\['lettered'\].letters is 'a', no number; give one"),
        ({"loss": Lettered(letters="7")}, r"loss\['lettered'\].letters is '7', no number"),
        ({"weights": nst.LossWeights(style="20")}, "weights.style is '20', no number"),
        (
            {"weights": nst.LossWeights(style_layers=("conv1_1",))},
            r"weights.style_layers is \('conv1_1',\); give a weight by layer",
        ),
        (
            {"loss": nst.Gram(layers=("conv1_1",), part_weights=[1, 2])},
            r"part_weights of the term style is \[1, 2\]; give a weight by part",
        ),
        ({"weights": nst.LossWeights(style=None)}, "weights.style is None; give a number"),
        (
            {"weights": nst.LossWeights(content_layers={"conv4_2": None})},
            "a weight of weights.content_layers is None; give a number",
        ),
    ],
)
def test_what_is_no_loss_is_refused(vgg16_params, pair, arguments, said):
    with pytest.raises(nst.ConfigError, match=said):
        nst.stylize(
            vgg16_params,
            pair[0][:40, :48],
            pair[1],
            nst.TransferConfig(num_steps=1, optimizer="adam"),
            **arguments,
        )


@pytest.mark.parametrize(
    ("axes", "arguments", "said"),
    [
        (
            {"style_weight": [5.0, 500.0]},
            {"loss": own_loss()},
            "axis style_weight varies the default loss, but axis loss gives others",
        ),
        (
            {"loss": {"a": own_loss()}},
            {"loss": own_loss()},
            "a loss is given beside weights or an axis loss",
        ),
        (
            {"loss": {"a": own_loss() * np.array([5.0, 20.0])}},
            {},
            "axis loss, a: a number of a term is an array",
        ),
        (
            {"loss": {"a": own_loss() * float("nan")}},
            {},
            r"axis loss, a: loss\['content'\].weight is nan",
        ),
        ({"loss": [own_loss()]}, {}, "axis loss must map the name of each loss to a sum of terms"),
    ],
)
def test_losses_that_a_study_cannot_take_are_refused(vgg16_params, pair, axes, arguments, said):
    with pytest.raises(nst.ConfigError, match=said):
        nst.run_study(
            vgg16_params,
            pair[0][:40, :48],
            pair[1],
            axes,
            nst.TransferConfig(num_steps=1, optimizer="adam"),
            **arguments,
        )


def test_a_default_is_changed_without_saying_its_type():
    @nst.term
    class Mine(nst.Gram):
        weight = 3.0
        layers = ("conv1_1",)

    assert Mine().weight == 3.0 and Mine().layers == ("conv1_1",) and Mine(weight=2.0).weight == 2.0
    assert jax.tree.leaves(Mine()) == [3.0]


def test_no_two_classes_share_a_program():
    """JAX looks a program up by the structure of what it is given. It is made anew here, since two
    structures that compare equal are confused only where their hashes meet."""

    @nst.term
    class First(nst.Term):
        layers = ("image",)

    @nst.term
    class Second(First):
        pass

    losses = [nst.style(statistic=name) for name in get_args(StyleLoss)]
    losses += [First(), Second(), nst.content(), nst.content(scaling="paper")]
    structures = [jax.tree.structure(one) for one in losses]
    for place, one in enumerate(structures):
        assert [other == one for other in structures].count(True) == 1, losses[place]
        assert jax.tree.unflatten(one, jax.tree.leaves(losses[place])) == losses[place]


def test_two_terms_of_one_name_need_names():
    with pytest.raises(nst.ConfigError, match="two terms called style"):
        nst.style(("conv1_1",)) + nst.style(("conv2_1",))
    with pytest.raises(nst.ConfigError, match="statistic is 'histogram'; it must be one of gram"):
        nst.style(statistic="histogram")
