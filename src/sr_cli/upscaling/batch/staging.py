"""Pictures of a store on their way through this machine: each is a temporary file here, and so is its result."""

import hashlib
import shutil
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path, PurePath

from sr_cli.errors import OutputExistsError
from sr_cli.system.atomic_files import temporary_folder
from sr_cli.upscaling.batch.plan_outputs import Job
from sr_cli.upscaling.batch.stores import StorePath, download, upload
from sr_cli.video import is_video
from sr_cli.weights.checksums import sha256_of


@dataclass(frozen=True)
class Staged:
    """A job, and the files on this machine that it reads and writes.

    Attributes:
        source, output: those of the job, or temporary files in ``folder``.
        work: where a video for a store is made; if it cannot be finished or delivered, the next run goes on from it.
    """

    job: Job
    source: Path
    output: Path
    folder: Path | None = None
    work: Path | None = None

    def identity(self) -> str:
        """What the input is: the same text for the same content only."""
        if isinstance(self.job.source, StorePath):
            return f"{self.job.source} {sha256_of(self.source)}"
        status = self.source.stat()
        return f"{self.source.resolve()} {status.st_size} {status.st_mtime_ns}"

    def fetch(self, max_pixels: int) -> None:
        """Get the input from its store, if it is in one.

        Raises:
            ImageError: it cannot be read, or is larger than any picture of ``max_pixels``.
            OutputExistsError: the result is there already, if the job wants that asked.
        """
        if self.job.ask and isinstance(self.job.output, StorePath) and self.job.output.exists():
            raise OutputExistsError(f"{self.job.output}: already exists")
        if isinstance(self.job.source, StorePath):
            self.source.parent.mkdir(parents=True, exist_ok=True)
            most = sys.maxsize if is_video(self.source) else 8 * max_pixels + (1 << 26)
            download(self.job.source, self.source, most=most)

    def deliver(self) -> None:
        """Put the result into its store, if it belongs into one; an `OutputError` if it cannot be written."""
        if isinstance(self.job.output, StorePath):
            upload(self.output, self.job.output)
            if self.work is not None:
                shutil.rmtree(self.work, ignore_errors=True)

    def discard(self) -> None:
        """Remove what is temporary."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)

    def renamed(self, message: str) -> str:
        """A message with the names that the user knows."""
        if self.folder is None:
            return message
        for local, name in ((self.source, self.job.source), (self.output, self.job.output)):
            message = message.replace(str(local), str(name))
        return message


class Staging:
    """A folder for temporary files, which is made when it is needed."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._folder: Path | None = None
        self._count = 0

    def stage(self, job: Job) -> Staged:
        """Find a place for a job's files; nothing is transferred yet."""
        if isinstance(job.source, Path) and isinstance(job.output, Path):
            return Staged(job, job.source, job.output)
        self._folder = self._folder or self._stack.enter_context(temporary_folder())
        self._count += 1
        folder = self._folder / str(self._count)
        source = job.source if isinstance(job.source, Path) else folder / f"in{job.source.suffix.lower()}"
        if isinstance(job.output, Path):
            return Staged(job, source, job.output, folder)
        name, work = job.output.name, None
        if is_video(PurePath(name)):
            work = Path(f".{name[-150:]}.{hashlib.sha256(str(job.output).encode()).hexdigest()[:8]}.sr-work").absolute()
        return Staged(job, source, (work or folder) / f"out{job.output.suffix.lower()}", folder, work)

    def close(self) -> None:
        self._stack.close()
