"""What the loop of a training says, and what it is told."""

from dataclasses import dataclass

from sr_cli.system.telemetry import EnergyReport, Reading


@dataclass(frozen=True)
class TrainStep:
    """What happened in one step.

    Attributes:
        step: number of the step, from 1.
        fraction: how much of the training is done, in [0, 1].
        epoch: epochs done, with its fraction.
        losses: the weighted terms whose sum was minimised.
        lr: the learning rate that was used.
        seconds: time of the step; ``loading`` is the part that it waited for data.
        validation: PSNR on Y in dB over the held-out photos, in steps that validate.
        best: whether ``validation`` is the best so far.
        remarks: what should not go unnoticed: photos that cannot be decoded, a return to an earlier state.
        reading: the device's status.
        energy: what the training has consumed, in its last step.
    """

    step: int
    fraction: float
    epoch: float
    losses: dict[str, float]
    lr: float
    seconds: float
    loading: float
    validation: float | None = None
    best: bool = False
    remarks: tuple[str, ...] = ()
    reading: Reading | None = None
    energy: EnergyReport | None = None


class Stop:
    """A wish to end: the training finishes its step, saves, and ends."""

    wanted = False
