import jax
import numpy as np
import pytest

import nst_jax as nst
from nst_jax.descent import fit, piece
from nst_jax.host import scheduling


@pytest.fixture
def afresh():
    """What is chosen once for a process, chosen by the test and then anew."""
    choices = scheduling.in_least_memory, piece.piece_program
    for choice in choices:
        choice.cache_clear()
    yield
    for choice in choices:
        choice.cache_clear()


@pytest.mark.slow
@pytest.mark.skipif(
    jax.default_backend() != "cpu", reason="accelerators have an order of their own"
)
def test_a_run_holds_less_than_in_the_compilers_own_order(vgg16_params, afresh, monkeypatch):
    image = np.zeros((256, 256, 3), np.float32)
    loss = nst.content(("conv1_2",)) + nst.style(("conv1_1", "conv1_2", "conv2_1"))
    needed = lambda: fit._bytes_needed(
        vgg16_params, image, image, loss, nst.TransferConfig(memory=3)
    )[1]
    least = needed()
    piece.piece_program.cache_clear()
    monkeypatch.setattr(piece, "in_least_memory", dict)
    assert least < 0.95 * needed()


def test_a_compiler_without_that_order_takes_its_own(afresh, monkeypatch):
    monkeypatch.setattr(scheduling, "_IN_LEAST_MEMORY", {"xla_cpu_no_such_option": "X"})
    assert scheduling.in_least_memory() == {}
