"""Records are read as they were written, and what is no record is refused by the place in it."""

import itertools
import json
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import UNSET

import nst_jax as nst
from nst_jax.jobs.describe import describe_preset
from nst_jax.jobs.parts import values_of
from nst_jax.jobs.record import (
    IN_COMMON,
    File,
    History,
    LaneRecord,
    LaneSettings,
    LaneValues,
    Network,
    RunInputs,
    RunRecord,
    RunSettings,
    StudyDescription,
    StudyInputs,
    StudyRecord,
    StudySettings,
)
from nst_jax.jobs.record_files import plain, read_any_record, read_record, write_record
from nst_jax.jobs.rerun import job_of_record
from nst_jax.study.lane import Lane
from tests.records import MACHINE, SIZE, example

KINDS = {"run": RunRecord, "lane": LaneRecord, "study": StudyRecord}

numbers = st.floats(0, 1e30)
names = st.binary(min_size=1, max_size=9).filter(lambda name: 0 not in name).map(os.fsdecode)
# absolute ones are written as seen from the record
paths = names.filter(lambda name: not name.startswith("/"))
files = st.builds(File, path=paths, sha256=names)
networks = st.builds(
    Network, name=names, file=names, path=paths, sha256=names, normalised=st.booleans()
)
layers = st.lists(st.sampled_from(("conv1_1", "conv2_2", "conv4_2")), min_size=1, unique=True)
configs = st.builds(
    nst.TransferConfig,
    content_layers=layers,
    style_layers=layers,
    pooling=st.sampled_from(("avg", "max")),
    scaling=st.sampled_from(("relative", "paper", "mean", "notebook")),
    num_steps=st.integers(1, 10**7),
    learning_rate=st.floats(1e-9, 1e9),
    tile=st.sampled_from((0, 64, 640)),
    coarse_to_fine=st.booleans(),
    style_mix=st.lists(st.floats(0.1, 9), max_size=2),
    style_turns=st.booleans(),
    octaves=st.integers(1, 8),
)
presets = st.builds(
    nst.Preset,
    config=configs,
    style_weight=numbers,
    network=st.none() | names.filter(lambda name: "/" not in name),  # no folder is kept
    size=st.none() | st.integers(16, 9999),
    resample=st.sampled_from(("lanczos", "nearest")),
    style_size=st.lists(st.sampled_from(("300", "0.5x", ".25x")), max_size=2),
    keep_alpha=st.booleans(),
    save_every=st.integers(0, 9),
)
losses = st.lists(st.none() | numbers, max_size=3)
outcomes = st.fixed_dictionaries(
    {
        "reason": st.none() | st.text(),
        "best_loss": st.none() | numbers,
        "best_step": st.integers(0, 99),
        "history": st.builds(
            History,
            size=st.lists(st.integers(0, 999), max_size=3),
            loss=losses,
            terms=st.dictionaries(names, st.dictionaries(names, losses, max_size=2), max_size=2),
        ),
    }
)


@st.composite
def run_records(draw):
    preset = draw(presets)
    beside = {"weights_by_layer": {"conv1_1": draw(numbers)}} if draw(st.booleans()) else {}
    several = st.lists(files, min_size=2, max_size=3).map(tuple)
    some = draw(
        st.fixed_dictionaries(
            {}, optional={"initial": files, "mask": several, "keep": files, "region_maps": several}
        )
    )
    settings = RunSettings(
        inputs=RunInputs(content=draw(files), style=draw(files | several), **some),
        network=draw(networks),
        seed=draw(st.integers(0, 2**32 - 1)),
        num_devices=1,
        **beside,
        **SIZE,
        **MACHINE,
        **values_of(preset, nst.Preset, leave_out=("config", "network")),
        **values_of(preset.config, nst.TransferConfig),
    )
    output, finished = draw(names), draw(st.booleans())
    return RunRecord(settings=settings, output=output, finished=finished, **draw(outcomes))


@st.composite
def lane_records(draw):
    preset = draw(presets)
    has_own_loss = draw(st.booleans())
    lane = Lane("photo", "painting", preset.config).replace(style_weight=draw(numbers))
    lane = lane.replace(loss="mine") if has_own_loss else lane
    terms = {"terms": {"mine": {"type": "a:B", "weight": draw(numbers)}}} if has_own_loss else {}
    settings = LaneSettings(
        network=draw(networks),
        inputs=RunInputs(content=draw(files), style=draw(files)),
        **terms,
        **SIZE,
        **values_of(preset, nst.Preset, names=IN_COMMON),
        **lane.settings(),
    )
    measured = st.fixed_dictionaries({"lpips": st.none() | numbers, "w2_conv1_2": numbers})
    return LaneRecord(
        output=draw(names),
        coordinates=draw(st.dictionaries(names, st.text(), max_size=2)),
        lane=LaneValues(**lane.settings()),
        status=draw(st.sampled_from(("finished", "converged", "failed"))),
        steps=3,
        seconds=draw(numbers),
        lpips=draw(st.none() | numbers),
        evaluation=draw(st.just(UNSET) | measured),
        settings=settings,
        **MACHINE,
        **draw(outcomes),
    )


axes = st.dictionaries(
    names,
    st.lists(
        st.integers() | numbers | st.text() | st.lists(names | numbers, max_size=2), max_size=2
    )
    | st.dictionaries(names, st.dictionaries(names, numbers, max_size=2), max_size=2),
    max_size=2,
)


@st.composite
def study_records(draw):
    preset = draw(presets)
    fixed = Lane("photo", "painting", preset.config).settings()
    for name in draw(st.sets(st.sampled_from(sorted(fixed)))):
        del fixed[name]
    images = {"photo": draw(files)}
    return StudyRecord(
        title=draw(st.text()),
        axes={"seed": ["0", "1"]},
        zipped=draw(st.booleans()),
        lanes=["seed=0", "seed=1"],
        contents={"photo": draw(names)},
        styles={"painting": draw(names)},
        settings=StudySettings(
            network=draw(networks),
            inputs=StudyInputs(content=images, style=images),
            **SIZE,
            **MACHINE,
            **values_of(preset, nst.Preset, names=IN_COMMON),
            **fixed,
        ),
        job=StudyDescription(
            preset=describe_preset(preset),
            axes=draw(axes),
            zipped=False,
            evaluate=draw(st.sampled_from((UNSET, True))),
        ),
    )


RECORDS = {"run": run_records(), "lane": lane_records(), "study": study_records()}


UNHURRIED = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize("kind", KINDS)
@UNHURRIED
@given(data=st.data())
def test_a_record_is_read_as_it_was_written(kind, data, tmp_path_factory):
    record = data.draw(RECORDS[kind])
    path = tmp_path_factory.getbasetemp() / "record.json"
    write_record(path, record)
    assert read_record(path, KINDS[kind], "") == record == read_any_record(path, "")


@UNHURRIED
@given(run_records(), presets)
def test_settings_give_the_preset_that_they_were_made_of(record, preset):
    found = RunSettings(
        **plain(record.settings)
        | {"inputs": record.settings.inputs, "network": record.settings.network}
        | values_of(preset, nst.Preset, leave_out=("config", "network"))
        | values_of(preset.config, nst.TransferConfig)
    )
    assert found.preset(preset.network) == preset == describe_preset(preset).preset()


LACKING = object()

DAMAGED = [
    ("lane", "evaluation", {"w2": "far"}, "$.evaluation[...]: expected float | null, got str"),
    ("run", "finished", LACKING, "$: object missing required field finished"),
    ("run", "finished", 1, "$.finished: expected bool, got int"),
    ("run", "settings", 3, "$.settings: expected object, got int"),
    ("run", "settings.num_steps", "5", "$.settings.num_steps: expected int, got str"),
    ("run", "settings.num_steps", LACKING, "$.settings: object missing required field num_steps"),
    ("run", "settings.num_steps", 10**30, "$.settings: num_steps is 1"),
    ("run", "settings.num_steps", 0, "$.settings: num_steps is 0; it must be a whole number"),
    ("run", "settings.style_wieght", 5, "$.settings: object contains unknown field style_wieght"),
    ("run", "settings.style_weight", None, "$.settings.style_weight: expected float, got null"),
    ("run", "settings.style_weight", -1.0, "$.settings: style_weight is -1.0; it must be a finite"),
    ("run", "settings.style_layers", ["conv1_1", 3], "$.settings.style_layers[1]: expected str"),
    ("run", "settings.style_layers", ["conv9_9"], "$.settings: unknown layer 'conv9_9'"),
    (
        "run",
        "settings.resample",
        "cubic",
        "$.settings.resample: expected str matching regex '^(lanczos|nearest)$'",
    ),
    ("run", "settings.seed", "\udcff", "$: "),
    ("run", "settings.inputs.sky", {}, "$.settings.inputs: object contains unknown field sky"),
    ("run", "settings.inputs.mask", {}, "$.settings.inputs.mask: expected array, got object"),
    ("run", "settings.inputs.style", [], "$.settings.inputs.style: expected array of length >= 2"),
    ("run", "settings.inputs.style.path", "a\0b", "$.settings.inputs.style.path: expected str"),
    ("run", "history.loss", [1.0, "x"], "$.history.loss[1]: expected float | null, got str"),
    ("lane", "status", "odd", "$.status: expected str matching regex '^(converged|failed|finished"),
    ("lane", "history.terms", [], "$.history.terms: expected object, got array"),
    ("lane", "lane.seed", 0.5, "$.lane.seed: expected int, got float"),
    ("lane", "settings.tile", 65, "$.settings: tile is 65; it must be a multiple of 64"),
    ("lane", "settings.scaling", None, "$.settings: scaling is None; it must be one of relative"),
    ("study", "lanes", 3, "$.lanes: expected array, got int"),
    ("study", "settings.width", "w", "$.settings.width: expected int, got str"),
    ("study", "settings.inputs.style", {}, "$.settings.inputs.style: expected object of length"),
    ("study", "job.axes", [], "$.job.axes: expected object, got array"),
    ("study", "job.axes.seed", 3, "$.job.axes[...]: expected object | array, got int"),
    ("study", "job.preset.config.memory", LACKING, "$.job.preset.config: object missing required"),
    ("study", "job.preset.tv_weight", -1, "$.job.preset: tv_weight is -1.0; it must be a finite"),
]


def damaged(kind, place, value):
    record = json.loads(json.dumps(example(kind)))
    *outer, last = place.split(".")
    inner = record
    for key in outer:
        inner = inner[key]
    if value is LACKING:
        del inner[last]
    else:
        inner[last] = value
    return json.dumps(record)


@pytest.mark.parametrize(("kind", "place", "value", "message"), DAMAGED)
def test_a_damaged_record_is_refused_by_the_place_in_it(kind, place, value, message, tmp_path):
    path = tmp_path / "no.json"
    path.write_text(damaged(kind, place, value))
    with pytest.raises(nst.ConfigError) as refused:
        read_record(path, KINDS[kind], "do this")
    line = str(refused.value)
    assert line.startswith(f"{path}: is not the record of a {kind} ({message}")
    assert line.endswith("); do this") and "\n" not in line
    with pytest.raises(nst.ConfigError, match=r"name a result, or the \.json beside it"):
        job_of_record(path)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "Expecting value: line 1 column 1 (char 0)"),
        ("[" * 100_000, "maximum recursion depth exceeded"),
        ("[]", "$: expected object, got array"),
        ("{}", "$: object missing required field settings"),
        ('{"a\\nb": 1}', "$: object contains unknown field a b"),
    ],
)
def test_what_is_no_record_is_refused_in_a_line(text, reason, tmp_path):
    path = tmp_path / "no.json"
    path.write_text(text)
    with pytest.raises(nst.ConfigError) as refused:
        job_of_record(path)
    assert f"({reason}" in str(refused.value) and "\n" not in str(refused.value)


ODD = (None, -1, 10**30, float("nan"), "", "..", "a\0b", "\udcff", "a" * 5000, [[]], {"a\nb": 1})


def places(value, place=()):
    """The keys that lead to each value within a value."""
    yield place
    inner = value.items() if isinstance(value, dict) else ()
    for key, other in enumerate(value) if isinstance(value, list) else inner:
        yield from places(other, (*place, key))


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_stands_in_a_record_it_is_a_job_or_refused_in_a_line(kind, tmp_path):
    path = tmp_path / "odd.json"
    text = json.dumps(example(kind))
    refused = 0
    for place, odd in itertools.product(list(places(json.loads(text)))[1:], ODD):
        record = inner = json.loads(text)
        for key in place[:-1]:
            inner = inner[key]
        inner[place[-1]] = odd
        path.write_text(json.dumps(record))
        try:
            job_of_record(path)
        except nst.ConfigError as error:
            refused += 1
            assert str(error).startswith(f"{path}: ") and "\n" not in str(error)
    assert refused > 100


@pytest.mark.parametrize("kind", KINDS)
def test_a_record_of_another_kind_is_refused(kind, tmp_path):
    path = tmp_path / "no.json"
    path.write_text(json.dumps(example(kind)))
    for other in set(KINDS) - {kind}:
        with pytest.raises(nst.ConfigError, match=f"is not the record of a {other} "):
            read_record(path, KINDS[other], "do this")
