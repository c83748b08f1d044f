"""A record of each kind."""

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
from nst_jax.jobs.record_files import plain
from nst_jax.study.lane import Lane

MACHINE = {"versions": {"jax": "0.10.2"}, "device": "cpu"}
SIZE = {"height": 48, "width": 40}
NETWORK = Network(name="vgg16", file="a", path="b/a", sha256="0", normalised=False)
FILE = File(path="photo.jpg", sha256="0")
HISTORY = History(size=[48], loss=[1.0], terms={"style": {"conv1_1": [1.0]}})


def example(kind):
    """A record as plain values."""
    preset, lane = nst.Preset(), Lane("photo", "painting", nst.TransferConfig())
    outcome = {"reason": None, "best_loss": 1.0, "best_step": 1, "history": HISTORY}
    of_all = {"network": NETWORK, **SIZE}
    images = RunInputs(content=FILE, style=FILE)
    shared = values_of(preset, nst.Preset, names=IN_COMMON)
    if kind == "run":
        own = values_of(preset, nst.Preset, leave_out=("config", "network"))
        own |= values_of(preset.config, nst.TransferConfig)
        settings = RunSettings(inputs=images, seed=0, num_devices=1, **of_all, **MACHINE, **own)
        return plain(RunRecord(settings=settings, output="out.png", finished=True, **outcome))
    if kind == "lane":
        record = LaneRecord(
            output="lane.png",
            coordinates={},
            lane=LaneValues(**lane.settings()),
            status="finished",
            steps=1,
            seconds=1.0,
            lpips=None,
            settings=LaneSettings(inputs=images, **of_all, **shared, **lane.settings()),
            **MACHINE,
            **outcome,
        )
        return plain(record)
    settings = StudySettings(
        inputs=StudyInputs(content={"photo": FILE}, style={"photo": FILE}),
        **of_all,
        **MACHINE,
        **shared,
    )
    record = StudyRecord(
        title="",
        axes={},
        zipped=False,
        lanes=["lane"],
        contents={"photo": "content_photo.png"},
        styles={"photo": "style_photo.png"},
        settings=settings,
        job=StudyDescription(preset=describe_preset(preset), axes={"seed": [0]}, zipped=False),
    )
    return plain(record)
