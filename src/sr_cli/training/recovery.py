"""What a training does about a loss that is not finite: it stops, or goes back and halves the learning rate."""

from typing import Any

from sr_cli.data import Batch
from sr_cli.errors import TrainingError
from sr_cli.system.distributed import Group
from sr_cli.training.recorder import Recorder
from sr_cli.training.run_folder import read_state
from sr_cli.training.state import Progress
from sr_cli.training.trainer import NotFinite, Trainer

MAX_ROLLBACKS = 5
"""How often a training may roll back before it stops."""


def recover(
    trouble: NotFinite,
    batch: Batch,
    trainer: Trainer,
    progress: Progress,
    recorder: Recorder | None,
    group: Group,
    hint: str,
) -> tuple[Progress, str]:
    """Roll back, if ``--on-nan`` allows it.

    Args:
        batch: what the loss was computed on.
        recorder: that of the process that writes; it forgets what it recorded after the state.
        hint: how the user can continue, for the error message.

    Returns:
        The progress to continue from, and a remark for the user.

    Raises:
        TrainingError: rollback is off, or there have been `MAX_ROLLBACKS`.
    """
    files = ", ".join(str(path) for paths in group.gather(batch.paths) for path in paths)
    what = f"{trouble} at step {progress.step + 1}; the batch came from {files}"
    if trainer.config.on_nan == "stop":
        raise TrainingError(f"{what}; {hint}, and a lower --lr or --on-nan rollback")
    if progress.rollbacks == MAX_ROLLBACKS:
        raise TrainingError(f"{what}; gave up after {MAX_ROLLBACKS} rollbacks; {hint}, and a lower --lr")
    progress = roll_back(trainer, progress, recorder, group)
    return progress, f"{what}; rolled back to step {progress.step}, learning rate × {progress.lr_factor:g}"


def roll_back(trainer: Trainer, progress: Progress, recorder: Recorder | None, group: Group) -> Progress:
    """Restore the last state, with half the learning rate.

    If the last rollback went there too, the state before it is restored.
    """
    state: dict[str, Any] | None = None
    if recorder:
        if recorder.run.last_step == progress.rolled_back_to:
            recorder.run.drop_last_state()
        state = read_state(recorder.run.path)
    state = group.broadcast(state)
    trainer.restore(state["trainer"])
    restored = Progress(**state["progress"])
    restored.lr_factor, restored.rollbacks = progress.lr_factor / 2, progress.rollbacks + 1
    restored.rolled_back_to = restored.step
    if recorder:
        recorder.run.forget_after(restored.step)
        recorder.save(trainer, restored)
    return restored
