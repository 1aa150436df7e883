"""Where the results go: names, collisions, and what is there already. All of it is settled before any work starts."""

import os
import string
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sr_cli.config import Exist
from sr_cli.errors import OutputError, UsageError
from sr_cli.images import FORMATS, SUFFIXES
from sr_cli.upscaling.batch.find_inputs import Source, place

FIELDS = ("stem", "ext", "scale", "model", "width", "height")
"""What a template for names may mention."""


@dataclass(frozen=True, kw_only=True)
class Naming:
    """How results are called.

    Attributes:
        output: the folder they go to, or with ``single`` the file; ``None``: beside the input.
        single: ``output`` is a file.
        template: of the name, with `FIELDS` in braces.
        format: of all results; ``None``: each input's own.
        scale: what ``{scale}`` stands for.
        model: what ``{model}`` stands for.
        animate: GIFs stay GIFs.
    """

    output: Path | None = None
    single: bool = False
    template: str
    format: str | None = None
    scale: float
    model: str
    animate: bool = False

    def __post_init__(self) -> None:
        try:
            fields = {field for _, field, _, _ in string.Formatter().parse(self.template) if field is not None}
        except ValueError as error:
            raise UsageError(f"--name {self.template}: {error}") from error
        unknown = sorted(fields - set(FIELDS))
        if unknown:
            known = " ".join(f"{{{field}}}" for field in FIELDS)
            raise UsageError(f"--name {self.template}: there is no {{{unknown[0]}}}; known are {known}")

    @property
    def needs_size(self) -> bool:
        """Whether names tell the size of the result."""
        return "{width" in self.template or "{height" in self.template

    def name(self, source: Source, size: tuple[int, int] | None) -> Path:
        """The path of the result.

        Raises:
            UsageError: the template makes no name of it.
        """
        if self.single and self.output is not None:
            return self.output
        width, height = size or (0, 0)
        try:
            name = self.template.format(
                stem=source.path.stem, ext=self.extension(source.path), scale=f"{self.scale:g}", model=self.model,
                width=width, height=height,
            )  # fmt: skip
        except (ValueError, IndexError, AttributeError) as error:
            raise UsageError(f"--name {self.template}: {error}") from error
        folder = source.path.parent if self.output is None else self.output / source.below
        if not name.strip("./") or "\0" in name:
            raise UsageError(f"--name {self.template}: gives {name!r} for {source.path}")
        path = folder / name
        if path.suffix.lower() not in SUFFIXES:
            raise UsageError(f"{path}: no image format has the suffix {path.suffix!r}; let --name end in .{{ext}}")
        return path

    def extension(self, source: Path) -> str:
        """The suffix of the result, without its dot."""
        if self.format is not None:
            return FORMATS[self.format].suffixes[0][1:]
        own = SUFFIXES.get(source.suffix.lower())
        if own is None:
            return "png"
        written = own if self.animate else still_format(own)
        return source.suffix[1:] if written == own else FORMATS[written].suffixes[0][1:]


def still_format(format: str) -> str:
    """The format of the result for a still picture of some format: a GIF would lose all but 256 colors."""
    return FORMATS[format].still or format


@dataclass(frozen=True, kw_only=True)
class Job:
    """A picture to upscale and where it goes.

    Attributes:
        output: the result's path.
        skip: its result is there already and shall stay.
        overwrite: a file of that name may be replaced.
    """

    source: Path
    output: Path
    skip: bool = False
    overwrite: bool = False


def plan(
    sources: Sequence[Source], naming: Naming, size_of: Callable[[Source], tuple[int, int] | None]
) -> tuple[list[tuple[Source, Path]], int]:
    """Name the results of a batch.

    Args:
        size_of: the size of a result, asked for if names tell it; ``None`` if nobody knows.

    Returns:
        Each source with its result's path, without those that are results of other sources themselves, from an
        earlier run; and how many these were.
    """
    named = [(source, naming.name(source, size_of(source) if naming.needs_size else None)) for source in sources]
    results = {place(path) for source, path in named if path != source.path}
    kept = [(s, path) for s, path in named if s.named or place(s.path) not in results]
    return (kept, len(named) - len(kept)) if kept else (named, 0)


def settle(named: Iterable[tuple[Source, Path]], exist: Exist | None) -> list[Job]:
    """Decide about results that are there already, that have the same name, or that would replace an input.

    Args:
        exist: what to do about existing files; ``None``: ``fail`` for files that were named, else ``skip``.

    Raises:
        UsageError: two results would have the same name, or one that of an input.
        OutputError: with ``fail``: a result is there already.
    """
    named = list(named)
    if exist == "rename":
        named = _renamed(named)
    _refuse_collisions(named)
    inputs = _identities(source.path for source, _ in named)
    jobs = []
    for source, path in named:
        policy = exist or ("fail" if source.named else "skip")
        there = os.path.lexists(path)
        is_input = there and not _identities([path]).isdisjoint(inputs)
        if is_input and (policy != "skip" or _identities([path]) & _identities([source.path])):
            raise UsageError(f"{path}: the result would replace an input; choose another -o or --name")
        if there and path.is_dir():
            raise OutputError(f"{path}: is a folder")
        if there and policy == "fail":
            raise OutputError(f"{path}: already exists; --exist overwrite, rename or skip says what to do")
        jobs.append(
            Job(source=source.path, output=path, skip=there and policy == "skip", overwrite=policy == "overwrite")
        )
    return jobs


def _renamed(named: list[tuple[Source, Path]]) -> list[tuple[Source, Path]]:
    """With free names: ``a_4x.png``, ``a_4x-2.png``, ``a_4x-3.png`` …"""
    taken: set[Path] = set()
    result = []
    for source, path in named:
        free, number = path, 1
        while place(free) in taken or os.path.lexists(free):
            number += 1
            free = path.with_name(f"{path.stem}-{number}{path.suffix}")
        taken.add(place(free))
        result.append((source, free))
    return result


def _refuse_collisions(named: Sequence[tuple[Source, Path]]) -> None:
    by_result = defaultdict(list)
    for source, path in named:
        by_result[place(path)].append((source.path, path))
    clashes = [each for each in by_result.values() if len(each) > 1]
    if clashes:
        (first, path), (second, _), *_ = clashes[0]
        more = f" ({len(clashes) - 1} more such names)" if len(clashes) > 1 else ""
        raise UsageError(
            f"{path}: would be the result of both {first} and {second}{more}; choose another --name, or --exist rename"
        )


def _identities(paths: Iterable[Path]) -> set[object]:
    """Device and inode of each file: links are seen through."""
    found: set[object] = set()
    for path in paths:
        try:
            status = path.stat()
            found.add((status.st_dev, status.st_ino))
        except (OSError, ValueError):
            found.add(place(path))
    return found
