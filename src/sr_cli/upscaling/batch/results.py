"""The outcome of each picture and of the batch, as data: the console draws it, ``--json`` prints it."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal

from sr_cli.errors import EXIT_INTERRUPTED, EXIT_SOME_FAILED, SrError

Status = Literal["planned", "done", "skipped", "failed"]


@dataclass(frozen=True, kw_only=True)
class Result:
    """The outcome of one picture.

    Attributes:
        input: its path, as it was given or found.
        output: the result's path; no such file exists if ``status`` is ``failed``.
        status: ``planned`` only in a dry run.
        input_size: width and height, in pixels.
        output_size: width and height, in pixels.
        frames: number of frames of an animation or a video.
        frames_before: how many of them an interrupted run had done.
        passes: how often the network ran, each time on the result before.
        reason: why this model was chosen; ``None`` if it was named.
        tile: largest height and width of a tile in LR pixels; ``None`` without tiles.
        seconds: network, color matching and resizing; without decoding and encoding, which run in parallel. In a dry
            run, the time that the network is expected to take.
        megapixels_per_second: of output, during these seconds.
        peak_memory: bytes; on a GPU PyTorch's peak for this picture, else the process's peak so far.
        warnings: what of the file the result lacks: what its format cannot hold, and frames.
        sha256: of the result's file, if a manifest is kept.
        disk_failed: whether the disk is full or read-only.
    """

    input: str
    output: str
    status: Status
    input_size: tuple[int, int] | None = None
    output_size: tuple[int, int] | None = None
    frames: int = 1
    frames_before: int = 0
    scale: int | None = None
    passes: int | None = None
    model: str | None = None
    reason: str | None = None
    device: str | None = None
    dtype: str | None = None
    tile: tuple[int, int] | None = None
    seconds: float | None = None
    decode_seconds: float | None = None
    encode_seconds: float | None = None
    megapixels_per_second: float | None = None
    peak_memory: int | None = None
    warnings: tuple[str, ...] = ()
    sha256: str | None = None
    error: str | None = None
    exit_code: int = 0
    disk_failed: bool = False


@dataclass(kw_only=True)
class Summary:
    """The outcome of a batch.

    Attributes:
        total: number of pictures in the batch; of those found so far, if they are found one by one.
        problems: errors that belong to no picture, such as an unreadable folder.
        seconds: from the first picture to the last.
        megapixels: of output.
        chosen: how many pictures each model was chosen for.
        interrupted: whether Ctrl-C or SIGTERM ended it.
        notes: remarks, such as results of an earlier run that were left out.
    """

    total: int
    problems: list[SrError] = field(default_factory=list)
    done: int = 0
    skipped: int = 0
    failures: list[Result] = field(default_factory=list)
    seconds: float = 0.0
    megapixels: float = 0.0
    chosen: Counter[str] = field(default_factory=Counter)
    interrupted: bool = False
    notes: list[str] = field(default_factory=list)

    def add(self, result: Result) -> None:
        """Count a result."""
        self.done += result.status == "done"
        self.skipped += result.status == "skipped"
        if result.status == "done" and result.reason and result.model:
            self.chosen[result.model] += 1
        if result.status == "failed":
            self.failures.append(result)
        elif result.status == "done" and result.output_size:
            self.megapixels += result.output_size[0] * result.output_size[1] * result.frames / 1e6

    @property
    def failed(self) -> int:
        return len(self.failures) + len(self.problems)

    @property
    def exit_code(self) -> int:
        """0 if nothing failed, 1 if something did, 130 after Ctrl-C; a lone picture that failed gives its own code."""
        if self.interrupted:
            return EXIT_INTERRUPTED
        if self.failed == 1 and self.total + len(self.problems) == 1:
            return self.failures[0].exit_code if self.failures else self.problems[0].exit_code
        return EXIT_SOME_FAILED if self.failed else 0

    def as_json(self) -> dict[str, Any]:
        """The last line of ``--json``."""
        counts = ("total", "done", "skipped", "failed", "seconds", "megapixels", "interrupted")
        failures = [{"input": each.input, "error": each.error} for each in self.failures]
        failures += [{"input": None, "error": str(problem)} for problem in self.problems]
        values = {name: getattr(self, name) for name in counts}
        return {"summary": True, **values, "failures": failures, "notes": self.notes, "exit_code": self.exit_code}
