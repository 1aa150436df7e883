"""``--preview`` and ``--compare``: a place of the picture before and after."""

from pathlib import Path
from typing import TYPE_CHECKING

from sr_cli.console.upscaling import UpscalingProgress

if TYPE_CHECKING:
    from sr_cli.images import Picture
    from sr_cli.upscaling.batch.pipeline import OnStrip
    from sr_cli.upscaling.batch.plan_outputs import Job
    from sr_cli.upscaling.crop_compare import Closeup

_COMPARED, _PREVIEWED = 96, 48  # side of the place, in pixels of the input


class Closeups:
    """Passes a batch's progress on, and gathers a place of each picture; see `batch.pipeline.Watcher`."""

    def __init__(self, progress: UpscalingProgress, *, preview: bool, compare: Path | None) -> None:
        self._progress, self._preview, self._compare = progress, preview, compare
        self._closeups: list[Closeup] = []

    def begins(self, job: "Job", picture: "Picture", size: tuple[int, int]) -> "OnStrip | None":
        self._progress.picture(job.source)
        if not self._preview and self._compare is None:
            return None
        from sr_cli.upscaling.crop_compare import Closeup

        closeup = Closeup(picture, size, _COMPARED if self._compare else _PREVIEWED)
        self._closeups.append(closeup)
        return closeup.add

    def tile(self, done: int, count: int) -> None:
        self._progress.tile(done, count)

    def show(self) -> None:
        """Show the picture that was finished first of those that haven't been shown."""
        if not self._closeups:
            return
        import io

        from PIL import Image

        from sr_cli.console import preview
        from sr_cli.system.atomic_files import write_atomically
        from sr_cli.upscaling.crop_compare import side_by_side

        panels = self._closeups.pop(0).panels()
        if self._preview:
            preview.show({"before": Image.fromarray(panels["input"]), "after": Image.fromarray(panels["result"])})
        if self._compare:
            file = io.BytesIO()
            side_by_side(panels).save(file, "PNG")
            write_atomically(self._compare, file.getvalue())


def watcher_of(progress: UpscalingProgress, *, preview: bool, compare: Path | None) -> Closeups:
    """A watcher that draws progress, and what else was asked for."""
    return Closeups(progress, preview=preview, compare=compare)
