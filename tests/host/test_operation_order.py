import jax
import numpy as np
import pytest

import nst_jax as nst
from nst_jax.descent import fit, piece
from nst_jax.host import operation_order


@pytest.fixture
def afresh():
    """What is chosen once for a process, chosen by the test and then anew."""
    choices = operation_order.in_least_memory, piece.piece_program
    for choice in choices:
        choice.cache_clear()
    yield
    for choice in choices:
        choice.cache_clear()


def test_a_cpus_compiler_has_an_order_to_choose(afresh):
    assert bool(operation_order.in_least_memory()) == (jax.default_backend() == "cpu")


@pytest.mark.slow
def test_a_run_holds_less_than_in_the_compilers_own_order(vgg16_params, afresh, monkeypatch):
    if jax.default_backend() != "cpu":
        pytest.skip("accelerators have an order of their own")
    image = np.zeros((256, 256, 3), np.float32)
    loss = nst.content(("conv1_2",)) + nst.style(("conv1_1", "conv1_2", "conv2_1"))
    needed = lambda: fit._bytes_needed(
        vgg16_params, image, image, loss, nst.TransferConfig(memory=3)
    )[1]
    least = needed()
    piece.piece_program.cache_clear()
    monkeypatch.setattr(piece, "in_least_memory", dict)
    assert least < 0.95 * needed()


def test_an_order_that_the_user_chose_stays(afresh, monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_scheduler_type=CPU_SCHEDULER_TYPE_DEFAULT")
    assert operation_order.in_least_memory() == {}


def test_a_compiler_without_that_order_takes_its_own(afresh, monkeypatch):
    monkeypatch.setattr(operation_order, "_IN_LEAST_MEMORY", {"xla_cpu_no_such_option": "X"})
    assert operation_order.in_least_memory() == {}
