"""Style losses beyond Gram matrices: against float64 NumPy and SciPy, and in all a run can be."""

from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import sqrtm

import nst_jax as nst
from nst_jax.config import StyleLoss
from nst_jax.objective.tiles import Tiles
from tests.runs import finished, followed, loss_and_gradient

STATISTICS = [name for name in get_args(StyleLoss) if name != "gram"]
OF_MOMENTS = ["covariance", "batch_norm", "wasserstein"]
JUMPING = ["sliced_wasserstein", "neighbours", "relaxed_emd"]
TURNING = ("sliced_wasserstein", "wrap")


def view_of(features, shares=None):
    """A view of one layer of such features, (height, width, channels)."""
    shape = features.shape[:2]
    whole = np.float32(1 / (shape[0] * shape[1]))
    return nst.View(
        features={"conv1_1": features},
        shares={"conv1_1": whole if shares is None else jnp.asarray(shares)[..., None]},
        own={"conv1_1": True},
        start={"conv1_1": np.zeros(2, np.int32)},
        shape={"conv1_1": shape},
        precision="highest",
        border="zero",
    )


@jax.jit
def distance(term, features, style, shares=None, style_shares=None):
    wanted = term.aim(term.measure(view_of(style, style_shares), {}))
    return term.distance(term.measure(view_of(features, shares), {}), wanted)["conv1_1"]


def moments(features, shares=None):
    flat = np.asarray(features, np.float64).reshape(-1, features.shape[-1])
    weights = np.full(len(flat), 1 / len(flat)) if shares is None else shares.reshape(-1)
    mean = weights @ flat
    return flat, weights[:, None], mean, (weights[:, None] * flat).T @ flat - np.outer(mean, mean)


def by_equation(statistic, features, style, shares=None):
    """The loss and its derivative in the features, in float64."""
    flat, weights, mean, covariance = moments(features, shares)
    _, _, style_mean, style_covariance = moments(style)
    missing, centred = mean - style_mean, flat - mean
    if statistic == "covariance":
        apart = covariance - style_covariance
        of_means = np.outer(mean, mean) - np.outer(style_mean, style_mean)
        value = (of_means**2).sum() + (apart**2).sum()
        slope = 4 * of_means @ mean + 4 * centred @ apart
    elif statistic == "batch_norm":
        least = 1e-6 * np.mean(np.diag(style_covariance) + style_mean**2)
        deviation, wanted = (
            np.sqrt(np.diag(one) + least) for one in (covariance, style_covariance)
        )
        value = (missing**2).sum() + ((deviation - wanted) ** 2).sum()
        slope = 2 * missing + 2 * (deviation - wanted) / deviation * centred
    else:
        size = len(mean)
        blur = lambda mean, covariance: (
            covariance + 1e-2 * (np.trace(covariance) + mean @ mean) / size * np.eye(size)
        )
        found, wanted = blur(mean, covariance), blur(style_mean, style_covariance)
        root = sqrtm(wanted).real
        common = sqrtm(root @ found @ root).real
        value = (missing**2).sum() + np.trace(found) + np.trace(wanted) - 2 * np.trace(common)
        by_covariance = np.eye(size) - root @ np.linalg.inv(common) @ root
        slope = 2 * missing + 2 * centred @ by_covariance
        slope += 2e-2 / size * np.trace(by_covariance) * flat
    return value, (weights * slope).reshape(features.shape)


@pytest.fixture
def features(rng):
    """Positive features of few independent causes, as a network's are, of an image and a style."""
    causes = rng.normal(size=(2, 6, 16)) * np.geomspace(1, 0.05, 6)[:, None]
    make = lambda place, *shape: np.maximum(rng.normal(size=(*shape, 6)) @ causes[place] + 0.3, 0)
    return make(0, 9, 11).astype(np.float32), 2 * make(1, 12, 8).astype(np.float32)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("statistic", OF_MOMENTS)
def test_losses_of_moments_are_their_equations(features, rng, statistic, masked):
    found, style = features
    shares = rng.dirichlet(np.ones(99)).reshape(9, 11).astype(np.float32) if masked else None
    expected, slope = by_equation(statistic, found, style, shares)
    term = nst.style(("conv1_1",), statistic=statistic)
    value, gradient = jax.jit(
        jax.value_and_grad(lambda found: distance(term, found, style, shares))
    )(found)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    np.testing.assert_allclose(gradient, slope, atol=1e-5 * np.abs(slope).max())


@pytest.mark.parametrize("statistic", OF_MOMENTS)
def test_losses_of_moments_are_0_of_the_same_positions_elsewhere(features, rng, statistic):
    style = features[1]
    moved = rng.permutation(style.reshape(-1, 16)).reshape(8, 12, 16)
    term = nst.style(("conv1_1",), statistic=statistic)
    unit = float(distance(term, np.zeros_like(style), style))
    assert abs(float(distance(term, moved, style))) < 1e-6 * unit
    assert float(distance(term, features[0], style)) > 0.01 * unit


def gaussians(mean, covariance):
    """What is measured of features with that mean and covariance."""
    second = np.add(covariance, np.outer(mean, mean))
    return {"conv1_1": {"mean": np.float32(mean), "second": second.astype(np.float32)}}


def wasserstein(first, second):
    term = nst.Wasserstein(layers=("conv1_1",))
    return float(term.distance(gaussians(*first), term.aim(gaussians(*second)))["conv1_1"])


@pytest.mark.slow
def test_wasserstein_of_gaussians_has_closed_forms(rng):
    # one channel: (Δμ)² + (Δσ)², with the hundredth of E f² in σ²
    expected = (0.5 - 1.5) ** 2 + (np.sqrt(4 + 4.25e-2) - np.sqrt(9 + 11.25e-2)) ** 2
    np.testing.assert_allclose(wasserstein(([0.5], [[4.0]]), ([1.5], [[9.0]])), expected, rtol=1e-6)
    # covariances that commute: Σ (√a − √b)²
    turn = np.linalg.qr(rng.normal(size=(8, 8)))[0]
    values, others = np.geomspace(1, 1e-4, 8), rng.random(8)
    pair = [(np.zeros(8), (turn * own) @ turn.T) for own in (values, others)]
    roots = [np.sqrt(own + 1e-2 * own.mean()) for own in (values, others)]
    np.testing.assert_allclose(wasserstein(*pair), ((roots[0] - roots[1]) ** 2).sum(), rtol=1e-5)


def test_wasserstein_does_not_know_the_axes(rng):
    turn = np.linalg.qr(rng.normal(size=(12, 12)))[0]
    pair = [(rng.normal(size=12), (own := rng.normal(size=(12, 12))) @ own.T) for _ in range(2)]
    turned = [(turn @ mean, turn @ covariance @ turn.T) for mean, covariance in pair]
    np.testing.assert_allclose(wasserstein(*turned), wasserstein(*pair), rtol=1e-5)


def test_wasserstein_of_many_channels_keeps_its_digits(rng):
    """Of covariances of rank 40 in 256 channels, as deep layers of small pictures have them."""
    make = lambda: np.maximum(rng.normal(size=(5, 8, 256)) + 0.2, 0).astype(np.float32)
    found, style = make(), make()
    expected, slope = by_equation("wasserstein", found, style)
    value, gradient = jax.value_and_grad(
        lambda found: distance(nst.Wasserstein(layers=("conv1_1",)), found, style)
    )(found)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    np.testing.assert_allclose(gradient, slope, atol=1e-4 * np.abs(slope).max())


@pytest.mark.parametrize("statistic", OF_MOMENTS)
def test_channels_that_nothing_excites_do_no_harm(features, statistic):
    found, style = (np.where(np.arange(16) % 3 == 0, 0, own) for own in features)
    term = nst.style(("conv1_1",), statistic=statistic)
    gradient = jax.grad(lambda found: distance(term, found, style))(found)
    assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0
    flat = np.full_like(style, 0.5)
    assert np.isfinite(jax.grad(lambda found: distance(term, found, flat))(found)).all()


@pytest.mark.parametrize("masked", [False, True])
def test_covariance_has_grams_unit_and_is_at_least_half_as_far(features, rng, masked):
    found, style = map(jnp.asarray, features)
    shares = rng.dirichlet(np.ones(99)).reshape(9, 11).astype(np.float32) if masked else None
    scaled = {}
    for statistic in ("gram", "covariance"):
        term = nst.style(("conv1_1",), statistic=statistic)
        wanted = term.aim(term.measure(view_of(style), {}))
        scale = term.scale(None, wanted, {"image": (9, 11, 3), "conv1_1": (9, 11, 16)})["conv1_1"]
        scaled[statistic] = float(scale * distance(term, found, style, shares))
    flat = np.float64(style).reshape(-1, 16)
    unit = ((flat.T @ flat / len(flat)) ** 2).sum()
    np.testing.assert_allclose(scale, 1 / unit, rtol=1e-5)
    assert 0 < scaled["gram"] <= 2 * scaled["covariance"]


LAYERS = ("conv1_1", "conv2_1")
STYLES = {name: nst.style(LAYERS, statistic=name) for name in STATISTICS}
LOSSES = {
    **{name: nst.content(("conv2_1",)) + 20 * style for name, style in STYLES.items()},
    "neighbours": nst.Loss({"style": nst.NearestNeighbours(layers=LAYERS)}),
    "relaxed_emd": nst.Loss({"style": nst.RelaxedEMD(layers=LAYERS)}),
    "self_similarity": nst.SelfSimilarity(layers=("conv2_1",)) + 20 * nst.style(LAYERS),
}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "border"), [*((name, "zero") for name in LOSSES), TURNING])
def test_in_tiles_as_whole(vgg16_params, rng, name, border):
    """In 64 bits where the derivative jumps: a step aside swaps values that are next to equal. And
    where unlike features are divided by how unlike they are, which costs digits."""
    shape = (200, 64) if border == "wrap" else (140, 150)
    content, style, image = (rng.random((*own, 3)) for own in (shape, (64, 80), shape))
    exact, found = name in (*JUMPING, "self_similarity"), []
    with jax.enable_x64(exact):
        kind = jnp.float64 if exact else jnp.float32
        params, content, style, image = jax.tree.map(
            lambda leaf: jnp.asarray(leaf, kind), (vgg16_params, content, style, image)
        )
        assert not Tiles(shape, 64, params, LAYERS, 0, border).is_one
        for tile in (0, 64):
            config = nst.TransferConfig(tile=tile, border=border)
            targets = nst.make_targets(params, content, style, config, LOSSES[name])
            found.append(loss_and_gradient(params, image, targets, LOSSES[name], config))
    ((whole, _), gradient), ((tiled, _), of_tiles) = found
    tolerance = 1e-10 if exact else 1e-5
    np.testing.assert_allclose(tiled, whole, rtol=tolerance)
    assert np.abs(of_tiles - gradient).max() <= tolerance * np.abs(gradient).max()


@pytest.fixture(scope="module")
def pair():
    rng = np.random.default_rng(2)
    return rng.random((40, 48, 3), np.float32), rng.random((32, 36, 3), np.float32) ** 2


SHALLOW = dict(content_layers=("conv2_2",), style_layers=("conv1_1", "conv2_1"), num_steps=4)


@pytest.mark.slow
@pytest.mark.parametrize(
    "setting",
    [
        {"style_loss": "covariance"},
        {"style_loss": "wasserstein"},
        {"style_loss": "sliced_wasserstein"},
        {"content_loss": "self_similarity"},
    ],
    ids=str,
)
@pytest.mark.usefixtures("optimised")
def test_lanes_and_runs_that_go_on_equal_single_ones(vgg16_params, pair, setting):
    # of larger steps, four end higher than they began where the content's loss begins at nothing
    config = nst.TransferConfig(optimizer="adam", learning_rate=0.0005, **setting, **SHALLOW)
    weights = [1.0, 20.0]
    batch = nst.stylize_batch(vgg16_params, *pair, config, nst.LossWeights(style=weights))
    for lane, weight in enumerate(weights):
        run = lambda own=weight, **how: nst.descend(
            vgg16_params, *pair, config, nst.LossWeights(style=own), **how
        )
        single, snapshots = followed(run(every=2, seconds=0))
        np.testing.assert_array_equal(batch.image[lane], single.image)
        np.testing.assert_array_equal(batch.losses[lane], single.losses)
        again = finished(run(start=snapshots[0]))
        np.testing.assert_array_equal(again.image, single.image)
        np.testing.assert_array_equal(again.losses, single.losses)
        assert np.isfinite(single.losses).all() and single.loss < single.losses[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    "setting", [{"style_loss": "covariance"}, {"content_loss": "self_similarity"}], ids=str
)
def test_from_coarse_to_fine_and_in_regions(vgg16_params, pair, setting):
    """A region that is the whole picture, with all of a style, is none."""
    config = nst.TransferConfig(optimizer="adam", coarse_steps=(0.5,), **setting, **SHALLOW)
    content, style = pair
    plain = nst.stylize(vgg16_params, content, style, config)
    assert plain.sizes.tolist() == [24] * 2 + [48] * 2
    everywhere = nst.Region(np.ones((40, 48), np.float32), style_mask=np.ones((32, 36), np.float32))
    parted = nst.stylize(vgg16_params, content, style, config, regions=[everywhere])
    np.testing.assert_allclose(parted.losses, plain.losses, rtol=1e-4)
    right = np.linspace(0, 1, 48, dtype=np.float32)[None].repeat(40, 0)
    regions = [nst.Region(1 - right), nst.Region(right, style=1)]
    parted = nst.stylize(vgg16_params, content, [style, style[::-1]], config, regions=regions)
    assert np.isfinite(parted.losses).all() and parted.loss < parted.losses[2]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (
            lambda: nst.TransferConfig(style_loss="sinkhorn"),
            "style_loss is 'sinkhorn'; it must be one of gram, covariance",
        ),
        (
            lambda: nst.TransferConfig(style_loss="wasserstein", scaling="paper"),
            "style_loss is 'wasserstein' and scaling 'paper'.*give scaling 'relative'",
        ),
        (
            lambda: nst.style(statistic="covariance", scaling="mean"),
            "statistic is 'covariance' and scaling 'mean'",
        ),
    ],
)
def test_a_style_loss_that_there_is_not_is_refused(make, said):
    with pytest.raises(nst.ConfigError, match=said):
        make()
