"""What a run is about to do, as a user is told before it begins."""

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import jax

from nst_jax.config import TransferConfig
from nst_jax.descent.schedule import Scale, make_schedule
from nst_jax.host.devices import num_cores
from nst_jax.jobs.describe import describe_device
from nst_jax.jobs.inputs import Inputs


@dataclass(frozen=True)
class RunPlan:
    """What a run is about to do.

    Args:
        scales: The sizes that it goes through, and the steps at each.
        device: What it runs on.
        num_devices: How many of them.
        num_cores: Cores that the process may use.
        program: Tells runs whose steps take as long from others.
        goes_on: Whether a part of it is done already.
        num_blended: How many styles go everywhere; 1 where each has areas of its own.
        then: The run that follows, where this one makes its style image.
    """

    scales: Sequence[Scale]
    device: str
    num_devices: int
    num_cores: int
    program: str
    goes_on: bool = False
    num_blended: int = 1
    then: "RunPlan | None" = None

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the result."""
        return self.scales[-1].shape

    @property
    def num_steps(self) -> int:
        """Steps over all sizes."""
        return sum(scale.num_steps for scale in self.scales)


def plan_run(
    inputs: Inputs, config: TransferConfig, devices: Sequence[jax.Device], goes_on: bool
) -> RunPlan:
    """The plan of a run.

    Args:
        inputs: What it is made of.
        config: Its settings, as the memory allows them.
        devices: Those that share the image.
        goes_on: As in `RunPlan`.
    """
    if inputs.initial is not None:  # noise alone goes through sizes of its own
        config = dataclasses.replace(config, init="content")
    device, cores = describe_device(), num_cores()
    deciding = (inputs.network.sha256, config.program(), len(inputs.regions))
    deciding += (device, len(devices), cores)
    program = hashlib.sha256(repr(deciding).encode()).hexdigest()[:32]
    scales = make_schedule(inputs.shape, config)
    num_blended = 1 if inputs.regions else len(inputs.styles)
    return RunPlan(scales, device, len(devices), cores, program, goes_on, num_blended)
