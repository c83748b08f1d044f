import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import nst_jax as nst
from nst_jax.descent.resizing import carry_up
from tests.runs import total_loss

LAYERS = dict(content_layers=("conv1_2",), style_layers=("conv1_1", "conv2_1"))
CONFIG = nst.TransferConfig(
    num_steps=5, optimizer="adam", learning_rate=0.05, average=0.8, **LAYERS
)


@pytest.fixture(scope="module")
def pictures():
    rng = np.random.default_rng(5)
    return rng.random((32, 24, 3), np.float32), rng.random((30, 28, 3), np.float32) ** 3


def average(images, decay):
    """v / (1 − dᵗ) in float64, as it is defined."""
    kept = 0.0
    for image in images:
        kept = decay * kept + (1 - decay) * np.asarray(image, float)
    return kept / (1 - decay ** len(images))


def stepped(start, move, decay, num_steps, loss=0.0):
    """The averages of a descent whose every step moves all pixels alike."""
    optimizer = optax.sgd(1.0)
    state = nst.init(start, optimizer)
    evaluate = lambda image: ((jnp.float32(loss), {}), jnp.full_like(image, -move))
    for _ in range(num_steps):
        state, _ = nst.step(state, evaluate, optimizer, decay)
        yield np.asarray(state.best_image)


@pytest.mark.parametrize("decay", [0.3, 0.99, 0.9999])
def test_a_constant_stays_and_a_ramp_has_the_closed_form(decay):
    start = np.full((2, 3, 3), 0.1234567, np.float32)
    for found in stepped(start, 0.0, decay, 7):
        np.testing.assert_array_equal(found, start)
    # x_k = a + δ (k − 1), so v_t / (1 − dᵗ) = a + δ (t / (1 − dᵗ) − 1 / (1 − d))
    for step, found in enumerate(stepped(start, 0.01, decay, 40), 1):
        wanted = step / (1 - decay**step) - 1 / (1 - decay)
        np.testing.assert_allclose(found, start + 0.01 * wanted, rtol=1e-6)


def test_images_of_no_finite_loss_do_not_count():
    start = np.full((2, 3, 3), 0.5, np.float32)
    *_, found = stepped(start, 0.1, 0.5, 3, loss=np.nan)
    np.testing.assert_array_equal(found, start)


@pytest.mark.slow
def test_a_run_ends_with_the_average_and_its_own_loss(vgg16_params, pictures):
    chunks = nst.descend(vgg16_params, *pictures, CONFIG, every=1, seconds=0)
    images, shown = [pictures[0]], []
    for chunk in chunks:
        shown.append(np.array(chunk.progress.image))
        saved = {name: np.array(leaf) for name, leaf in chunk.snapshot().items()}
        images.append(saved["states/image"][0])
        if len(shown) == 2:
            middle = saved
        result = chunk.result()
    for step, found in enumerate(shown, 1):
        np.testing.assert_allclose(found, average(images[:step], 0.8), atol=1e-6)
    np.testing.assert_array_equal(result.image, shown[-1])
    targets = nst.make_targets(vgg16_params, *pictures, CONFIG)
    loss, parts = total_loss(vgg16_params, result.image, targets, nst.LossWeights(), CONFIG)
    np.testing.assert_allclose(result.loss, loss, rtol=1e-5)
    assert result.loss == result.losses[-1] and result.best_step == result.num_steps == 6
    np.testing.assert_allclose(
        result.terms["style"]["conv1_1"][-1], parts["style"]["conv1_1"], rtol=1e-5
    )
    assert not result.cut_off and not result.converged and not result.failure
    whole = nst.stylize(vgg16_params, *pictures, CONFIG)
    *_, again = nst.descend(vgg16_params, *pictures, CONFIG, start=middle)
    for other in (whole, again.result()):
        np.testing.assert_array_equal(other.image, result.image)
        np.testing.assert_array_equal(other.losses, result.losses)
    # The images on the way are those of a run without the average.
    plain = nst.stylize(vgg16_params, *pictures, dataclasses.replace(CONFIG, average=0.0))
    np.testing.assert_array_equal(plain.losses, result.losses[:-1])


@pytest.mark.slow
@pytest.mark.usefixtures("optimised")
def test_lanes_and_ones_own_optimisers_are_single_runs(vgg16_params, pictures):
    batch = nst.stylize_batch(vgg16_params, *pictures, CONFIG, nst.LossWeights(style=[5.0, 50.0]))
    for lane, style in enumerate((5.0, 50.0)):
        single = nst.stylize(vgg16_params, *pictures, CONFIG, nst.LossWeights(style=style))
        np.testing.assert_array_equal(batch.image[lane], single.image)
        np.testing.assert_array_equal(batch.losses[lane], single.losses)
    own = dataclasses.replace(CONFIG, optimizer="lbfgs")  # which names what is not used
    given = nst.stylize(vgg16_params, *pictures, own, optimizer=optax.adam(0.05))
    named = nst.stylize(vgg16_params, *pictures, CONFIG)
    np.testing.assert_allclose(given.image, named.image, atol=1e-5)
    axes = {"average": [0.0, 0.8]}
    study = nst.run_study(vgg16_params, *pictures, axes, CONFIG)
    np.testing.assert_array_equal(study.image[1], named.image)
    assert study.num_steps.tolist() == [5, 6] and study.loss[1] == named.loss


@pytest.mark.slow
def test_each_size_begins_with_the_average_of_the_smaller(vgg16_params, pictures):
    content = np.kron(pictures[0], np.ones((2, 2, 1), np.float32))
    config = dataclasses.replace(CONFIG, num_steps=6, coarse_steps=(0.5,))
    coarse, found = None, None
    for chunk in nst.descend(vgg16_params, content, pictures[1], config, every=1, seconds=0):
        saved = {name: np.array(leaf) for name, leaf in chunk.snapshot().items()}
        if saved["scale"] == 0:
            coarse, cut = saved["states/best_image"][0], chunk.result()
        elif found is None:
            found = saved["found/image"][0]
            assert saved["states/best_image"].shape[1:] == content.shape
    np.testing.assert_array_equal(found, carry_up(coarse, content, content.shape[:2]))
    assert cut.cut_off and cut.loss == cut.losses[-1] and cut.num_steps == 4
    assert chunk.result().num_steps == 7 and chunk.result().sizes.tolist() == [32] * 3 + [64] * 4


@pytest.mark.slow
def test_a_run_that_fails_says_the_loss_of_its_picture(vgg16_params, pictures):
    def update(gradient, state, params=None):
        bad = jnp.where(state >= 3, jnp.nan, 0.01)
        return jax.tree.map(lambda leaf: jnp.full_like(leaf, bad), gradient), state + 1

    optimizer = optax.GradientTransformation(lambda params: jnp.zeros((), jnp.int32), update)
    config = dataclasses.replace(CONFIG, num_steps=30)
    result = nst.stylize(vgg16_params, *pictures, config, optimizer=optimizer)
    assert "is not finite" in str(result.failure) and np.isfinite(result.image).all()
    targets = nst.make_targets(vgg16_params, *pictures, CONFIG)
    loss, _ = total_loss(vgg16_params, result.image, targets, nst.LossWeights(), CONFIG)
    np.testing.assert_allclose(result.loss, loss, rtol=1e-5)


def test_lbfgs_takes_no_average(vgg16_params, pictures):
    config = dataclasses.replace(CONFIG, optimizer="lbfgs")
    with pytest.raises(nst.ConfigError, match=r"average is 0.8, but lbfgs keeps the best"):
        nst.stylize(vgg16_params, *pictures, config)
    with pytest.raises(nst.ConfigError, match=r"average is 0.8, but lbfgs"):
        nst.stylize(vgg16_params, *pictures, CONFIG, optimizer="lbfgs")
    with pytest.raises(nst.ConfigError, match=r"average is 0.8, but lbfgs"):
        nst.run_study(vgg16_params, *pictures, {"optimizer": ["adam", "lbfgs"]}, CONFIG)
    for value in (1.0, -0.1, "0.9", np.nan):
        with pytest.raises(nst.ConfigError, match=r"average is .* it must be a number, at least 0"):
            nst.TransferConfig(average=value)
