import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nst_jax.optim.preconditioner import curvature_preconditioner

INIT, UPDATE, APPLY, SQUARED_NORM = map(jax.jit, curvature_preconditioner())
# grey, red against green, yellow against blue
COLOURS = np.array([[1, 1, 1], [1, -1, 0], [1, 1, -2]], np.float32)


def after_pairs(shape, hessian, num_pairs, seed=0):
    """The state after random steps over a quadratic whose Hessian is applied by `hessian`."""
    state = INIT(np.zeros(shape, np.float32))
    for step in np.random.default_rng(seed).standard_normal((num_pairs, *shape)).astype(np.float32):
        state = UPDATE(state, step, np.asarray(hessian(step), np.float32))
    return state


def wave(shape, cycles_down, cycles_across):
    rows, columns = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    phase = cycles_down * rows / shape[0] + cycles_across * columns / shape[1]
    return np.cos(2 * np.pi * phase)[..., None] * np.ones(3, np.float32), np.hypot(
        cycles_down / shape[0], cycles_across / shape[1]
    )


@pytest.mark.parametrize("shape", [(16, 16, 3), (15, 22, 3), (17, 13, 3)])
def test_it_is_linear_symmetric_and_positive_definite(shape):
    factors = np.random.default_rng(1).uniform(0.1, 10, shape)
    state = after_pairs(shape, lambda step: factors * step, 3)
    size, stride = np.prod(shape), max(np.prod(shape) // 60, 1)
    basis = np.eye(size, dtype=np.float32).reshape(size, *shape)[::stride]
    picked = np.stack([np.asarray(APPLY(state, image)).ravel() for image in basis])[
        :, ::stride
    ].astype(np.float64)
    np.testing.assert_allclose(picked, picked.T, atol=1e-6)
    assert np.linalg.eigvalsh(picked).min() > 0
    image, other = np.random.default_rng(0).random((2, *shape), np.float32)
    np.testing.assert_allclose(
        APPLY(state, 2 * image - other),
        2 * np.asarray(APPLY(state, image)) - APPLY(state, other),
        atol=1e-4,
    )


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(16, 16, 3), (15, 22, 3), (17, 13, 3)])
@pytest.mark.parametrize("factor", [1, 1e-15, 1e15])
def test_the_squared_norm_is_that_of_what_is_applied(shape, factor):
    factors, image = np.random.default_rng(2).uniform(0.1, 10, (2, *shape)).astype(np.float32)
    state = after_pairs(shape, lambda step: factors * step, 3)
    image *= factor
    wanted = np.vdot(image.astype(np.float64), np.asarray(APPLY(state, image), np.float64))
    np.testing.assert_allclose(SQUARED_NORM(state, image), wanted, rtol=1e-5)


def test_after_the_first_sixteen_one_pair_of_four_is_learned_from():
    state, learned = INIT(np.zeros((16, 16, 3), np.float32)), []
    for index, step in enumerate(
        np.random.default_rng(4).standard_normal((26, 16, 16, 3)).astype(np.float32)
    ):
        before, state = state, UPDATE(state, step, step[::-1])
        if not np.array_equal(before.step_cells, state.step_cells):
            learned.append(index)
    assert learned == [*range(16), 16, 20, 24]


def test_lanes_of_vmap_learn_each_for_itself():
    shape = (16, 16, 3)
    states = [
        after_pairs(shape, lambda step: 2 * step[::-1], num_pairs, seed=num_pairs)
        for num_pairs in (15, 17, 20)
    ]
    steps, gradient_steps = (
        np.random.default_rng(6).standard_normal((2, 3, *shape)).astype(np.float32)
    )
    lanes = jax.jit(jax.vmap(UPDATE))(
        jax.tree.map(lambda *leaves: np.stack(leaves), *states), steps, gradient_steps
    )
    for lane, state in enumerate(states):
        single = UPDATE(state, steps[lane], gradient_steps[lane])
        jax.tree.map(
            lambda rows, row, lane=lane: np.testing.assert_allclose(rows[lane], row, rtol=1e-5),
            lanes,
            single,
        )


def test_before_the_first_pair_a_wave_is_divided_by_the_root_of_its_frequency():
    shape = (24, 32, 3)
    state = INIT(np.zeros(shape, np.float32))
    mean = np.asarray(APPLY(state, np.ones(shape, np.float32)))
    for cycles in ((0, 1), (3, 0), (2, 5), (12, 16)):
        image, frequency = wave(shape, *cycles)
        np.testing.assert_allclose(
            APPLY(state, image) / mean, image * (32 * frequency) ** -0.5, atol=2e-5
        )


def test_it_learns_at_which_frequencies_the_loss_bends():
    shape, power = (48, 64, 3), 1.5
    frequencies = np.maximum(np.hypot(np.fft.fftfreq(48)[:, None], np.fft.rfftfreq(64)), 1 / 64)[
        ..., None
    ]
    hessian = lambda step: np.fft.irfft2(
        frequencies**power * np.fft.rfft2(step, axes=(0, 1)), s=shape[:2], axes=(0, 1)
    )
    state = after_pairs(shape, hessian, 40)
    slow, slow_frequency = wave(shape, 0, 8)
    for cycles in ((12, 0), (10, 16), (20, 20)):
        image, frequency = wave(shape, *cycles)
        learned = np.vdot(image, APPLY(state, image)) / np.vdot(image, image)
        learned /= np.vdot(slow, APPLY(state, slow)) / np.vdot(slow, slow)
        # The inverse of the curvature, as exactly as bands half an octave wide can say.
        assert abs(np.log2(learned) - np.log2((frequency / slow_frequency) ** -power)) < 0.2


@pytest.mark.slow
def test_it_learns_in_which_colours_the_loss_bends():
    shape = (32, 48, 3)
    # nine times along grey
    state = after_pairs(shape, lambda step: step + 8 * step.mean(axis=2, keepdims=True), 8)
    image, _ = wave(shape, 3, 5)
    gains = [
        np.vdot(colour, np.asarray(APPLY(state, colour * image))[0, 0]) / np.vdot(colour, colour)
        for colour in COLOURS
    ]
    np.testing.assert_allclose(gains / gains[1], [1 / 9, 1, 1], rtol=0.1)


def test_it_learns_where_the_loss_bends():
    shape = (32, 48, 3)
    curvature = np.ones(shape)
    curvature[:, 24:] = 9
    state = after_pairs(shape, lambda step: curvature * step, 40)
    pattern = np.random.default_rng(5).standard_normal((24, 16, 3)).astype(np.float32)
    left, right = np.zeros((2, *shape), np.float32)
    left[4:28, 4:20], right[4:28, 28:44] = pattern, pattern
    ratio = np.vdot(left, APPLY(state, jnp.asarray(left))) / np.vdot(
        right, APPLY(state, jnp.asarray(right))
    )
    # |y|² is 1 and 81 of |s|² there, 41 in the mean, of which a twentieth is added everywhere.
    np.testing.assert_allclose(ratio, np.sqrt((81 + 41 / 20) / (1 + 41 / 20)), rtol=0.1)


@pytest.mark.parametrize("factor", [1e-25, 1e25])
def test_what_the_loss_and_the_pixels_are_multiplied_by_does_not_matter(factor):
    shape = (16, 20, 3)
    image = np.random.default_rng(3).random(shape, np.float32)
    wanted = APPLY(after_pairs(shape, lambda step: step[::-1] ** 2, 5), image)
    found = APPLY(after_pairs(shape, lambda step: factor * step[::-1] ** 2, 5), image)
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_a_pair_of_zeros_leaves_it_finite():
    zeros = np.zeros((16, 16, 3), np.float32)
    state = UPDATE(INIT(zeros), zeros, zeros)
    assert np.isfinite(APPLY(state, zeros + 1)).all()


def test_its_program_holds_no_array_of_the_images_size():
    """It would fill caches and the compiler's memory."""
    image = jax.ShapeDtypeStruct((1024, 1024, 3), np.float32)
    state = jax.eval_shape(INIT, image)
    for function, arguments in (
        (UPDATE, (image, image)),
        (APPLY, (image,)),
        (SQUARED_NORM, (image,)),
    ):
        assert len(function.lower(state, *arguments).as_text()) < 100_000
