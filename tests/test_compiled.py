from types import MappingProxyType

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nst_jax as nst
from nst_jax.compiled import compiled_alone


@pytest.fixture
def scaled():
    """A function, and whether its image was traced by `jax.jit` at each call of its own."""
    calls = []

    @compiled_alone("times")
    def function(image, times):
        calls.append(type(image).__name__)
        return {"sum": jnp.sum(times * image["pixels"])}

    return function, calls


def test_alone_a_function_is_compiled_once_for_each_shape_and_value(scaled):
    function, calls = scaled
    for number in (1.0, 2.0):
        image = {"pixels": np.full(3, number, np.float32)}
        assert float(function(image, 2)["sum"]) == 6 * number
    assert len(calls) == 1
    assert float(function(image, times=3)["sum"]) == 18
    assert float(function({"pixels": np.ones(4, np.float32)}, 2)["sum"]) == 8
    assert len(calls) == 3


def test_within_a_transformation_it_is_the_function_itself(scaled):
    function, _ = scaled
    image = {"pixels": jnp.arange(3.0)}
    program = jax.make_jaxpr(lambda image: function(image, 2))(image)
    assert "jit" not in {equation.primitive.name for equation in program.eqns}
    gradient = jax.grad(lambda image: function(image, 2)["sum"])(image)
    np.testing.assert_array_equal(gradient["pixels"], np.full(3, 2.0))


@pytest.mark.parametrize("part", [nst.total_loss, nst.loss_and_gradient])
def test_a_part_says_what_is_wrong_and_finds_what_it_finds_in_a_program(part, vgg16_params, rng):
    start, image = rng.random((2, 32, 32, 3), np.float32)
    config = nst.TransferConfig(content_layers=("conv1_1",), style_layers=("conv1_1",))
    targets = nst.make_targets(vgg16_params, image, image, config)
    find = lambda image: part(vgg16_params, image, targets, nst.LossWeights(), config)
    for alone, compiled in zip(
        *map(jax.tree.leaves, (find(start), jax.jit(find)(start))), strict=True
    ):
        np.testing.assert_allclose(alone, compiled, rtol=1e-5, atol=1e-6 * np.abs(compiled).max())
    with pytest.raises(nst.ConfigError, match="same height and width"):
        find(start[:24])


def test_parameters_may_be_any_mapping(vgg16_params):
    image = np.random.default_rng(3).random((16, 16, 3), np.float32)
    wanted = nst.features(vgg16_params, image, ("conv1_1",))["conv1_1"]
    found = nst.features(MappingProxyType(vgg16_params), image, ("conv1_1",))["conv1_1"]
    np.testing.assert_array_equal(found, wanted)
