"""What became of the pictures of a batch, as data: for people the console draws it, for machines it is JSON."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from sr_cli.errors import EXIT_INTERRUPTED, EXIT_SOME_FAILED, SrError

Status = Literal["done", "skipped", "failed"]


@dataclass(frozen=True, kw_only=True)
class Result:
    """What became of one picture.

    Attributes:
        input: its path, as it was given or found.
        output: the result's path; nothing is there if the status is ``failed``.
        input_size: width and height, in pixels.
        output_size: width and height, in pixels.
        frames: pictures of an animation.
        scale: the network's.
        passes: how often the network ran, one result after the other.
        tile: largest height and width of a tile in LR pixels; ``None`` for none.
        seconds: the network, colors and sizes; decoding and encoding, which overlap with it, not included.
        megapixels_per_second: of output, in these seconds.
        peak_memory: bytes; the largest that the process has had so far, on a GPU what PyTorch has had of it.
        joules: of the device in these seconds, where it tells.
        warnings: what is lost, or was done otherwise than asked for.
        error: what went wrong, in a line.
        exit_code: of the error.
    """

    input: str
    output: str
    status: Status
    input_size: tuple[int, int] | None = None
    output_size: tuple[int, int] | None = None
    frames: int = 1
    scale: int | None = None
    passes: int | None = None
    model: str | None = None
    device: str | None = None
    dtype: str | None = None
    tile: tuple[int, int] | None = None
    seconds: float | None = None
    decode_seconds: float | None = None
    encode_seconds: float | None = None
    megapixels_per_second: float | None = None
    peak_memory: int | None = None
    joules: float | None = None
    warnings: tuple[str, ...] = ()
    error: str | None = None
    exit_code: int = 0

    def as_json(self) -> dict[str, Any]:
        """All of it, for ``json.dumps``."""
        return asdict(self)


@dataclass(kw_only=True)
class Summary:
    """What became of a batch.

    Attributes:
        total: pictures that there were to do.
        problems: errors that belong to no picture, such as a folder that cannot be read.
        seconds: from the first picture to the last.
        megapixels: of output.
        interrupted: Ctrl-C ended it.
        notes: what else there is to know, such as results of an earlier run that were passed over.
    """

    total: int
    problems: Sequence[SrError] = ()
    done: int = 0
    skipped: int = 0
    failures: list[Result] = field(default_factory=list)
    seconds: float = 0.0
    megapixels: float = 0.0
    interrupted: bool = False
    notes: list[str] = field(default_factory=list)

    def add(self, result: Result) -> None:
        """Count a result."""
        self.done += result.status == "done"
        self.skipped += result.status == "skipped"
        if result.status == "failed":
            self.failures.append(result)
        elif result.status == "done" and result.output_size:
            self.megapixels += result.output_size[0] * result.output_size[1] * result.frames / 1e6

    @property
    def failed(self) -> int:
        return len(self.failures) + len(self.problems)

    @property
    def exit_code(self) -> int:
        """0: all done; 1: some failed; of a single failure on its own, its error's; 130 after Ctrl-C."""
        if self.interrupted:
            return EXIT_INTERRUPTED
        if self.failed == 1 and self.total + len(self.problems) == 1:
            return self.failures[0].exit_code if self.failures else self.problems[0].exit_code
        return EXIT_SOME_FAILED if self.failed else 0

    def as_json(self) -> dict[str, Any]:
        """The last line of ``--json``."""
        return {
            "summary": True,
            "total": self.total,
            "done": self.done,
            "skipped": self.skipped,
            "failed": self.failed,
            "seconds": self.seconds,
            "megapixels": self.megapixels,
            "interrupted": self.interrupted,
            "failures": [{"input": each.input, "error": each.error} for each in self.failures]
            + [{"input": None, "error": str(problem)} for problem in self.problems],
            "notes": self.notes,
            "exit_code": self.exit_code,
        }
