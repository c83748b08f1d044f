import pytest

import nst_jax as nst
from nst_jax.study.grid import make_grid


def grid_of(axes, **settings):
    config = nst.TransferConfig(**settings)
    return make_grid(axes, ["a"], ["b"], config, nst.LossWeights())


def test_seeds_that_make_no_difference_are_told(said):
    axes = {"style_weight": [5, 20, 80], "seed": [0, 1]}
    grid_of(axes)
    (line,) = said
    assert line.startswith("note: 6 lanes, 3 different: a seed counts with init noise alone")
    grid_of({"init": ["noise", "content"], "seed": [0, 1, 2]})
    assert "6 lanes, 4 different" in said[1]


@pytest.mark.parametrize("axes", [{"seed": [0, 1]}, {"seed": [3]}, {"init": ["noise", "content"]}])
def test_seeds_that_make_a_difference_or_none_are_not(axes, said):
    grid_of(axes, init="noise")
    assert not said
