from typing import get_args

import pytest

import nst_jax as nst
from nst_jax.cli.options import PresetName


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(content_layers=("conv9_1",)), "unknown layer 'conv9_1' in content_layers"),
        (dict(style_layers="conv1_1"), "give a tuple of names"),
        (dict(style_layers=("conv1_1", "conv1_1")), "names a layer twice"),
        (dict(style_layers=(), content_layers=()), "both empty"),
        (dict(pooling="mean"), "pooling is 'mean'; it must be one of avg, max"),
        (dict(scaling="gatys"), "it must be one of relative, paper, mean, notebook"),
        (dict(optimizer="bfgs"), "optimizer is 'bfgs'"),
        (dict(init="random"), "init is 'random'"),
        (dict(balance=0), "balance is 0; it must be one of False, True"),
        (dict(num_steps=0), "num_steps is 0; it must be a whole number, between 1 and"),
        (dict(num_steps=2.5), "num_steps is 2.5"),
        (dict(learning_rate=-1.0), "learning_rate is -1.0; it must be a positive number"),
        (dict(tolerance=1.0), "tolerance is 1.0"),
    ],
)
def test_a_wrong_setting_is_named_with_what_it_may_be(change, message):
    with pytest.raises(nst.ConfigError, match=message):
        nst.TransferConfig(**change)


def test_a_config_is_hashable_and_takes_lists():
    assert hash(nst.TransferConfig(style_layers=["conv1_1"])) == hash(
        nst.TransferConfig(style_layers=("conv1_1",))
    )


def test_presets_say_what_their_sources_say():
    notebook = nst.PRESETS["notebook"]
    assert notebook.config.learning_rate * 255**2 == pytest.approx(100)
    assert (notebook.rows, notebook.save_every, notebook.config.num_steps) == (400, 100, 4000)
    assert notebook.config.content_layers == ("conv5_2",) and notebook.config.pooling == "max"
    paper = nst.PRESETS["paper"]
    assert paper.content_weight / paper.style_weight == 0.1
    assert (paper.config.init, paper.config.pooling, paper.config.scaling) == (
        "noise",
        "avg",
        "mean",
    )


def test_the_command_line_knows_every_preset():
    assert get_args(PresetName) == tuple(nst.PRESETS)


def test_a_preset_changes_by_the_names_of_its_fields():
    changed = nst.PRESETS["notebook"].replace(size=256, rows=None, num_steps=5)
    assert (changed.size, changed.rows, changed.config.num_steps, changed.config.pooling) == (
        256,
        None,
        5,
        "max",
    )


def test_what_is_only_scheduled_or_traced_decides_no_program():
    usual = nst.TransferConfig()
    other = nst.TransferConfig(
        num_steps=7, init="noise", coarse_to_fine=False, tolerance=0.1, learning_rate=0.1
    )
    assert other.program() == usual.program() and hash(other.program()) == hash(usual.program())
    for change in ({"memory": 5}, {"optimizer": "adam"}, {"decay": 0.5}):
        changed = nst.TransferConfig(**change)
        assert changed.program() != usual.program() and changed.program(
            has_optimizer=True
        ) == usual.program(has_optimizer=True)
    for change in (
        {"tile": 64},
        {"pooling": "max"},
        {"precision": "default"},
        {"scaling": "mean"},
        {"content_layers": ()},
    ):
        assert nst.TransferConfig(**change).program(has_optimizer=True) != usual.program(
            has_optimizer=True
        )
