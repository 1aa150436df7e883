"""Where the results go: names, collisions, existing files. All of it is decided before any work starts."""

import os
import re
import string
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path, PurePath

from sr_cli import video
from sr_cli.config import IfExists, UpscaleConfig
from sr_cli.errors import OutputError, UsageError, as_usage_error
from sr_cli.images import FORMATS, SUFFIXES
from sr_cli.upscaling.batch.find_inputs import Source, canonical_path
from sr_cli.upscaling.batch.stores import AnyPath, StorePath

FIELDS = ("stem", "ext", "scale", "model", "width", "height")
"""The placeholders of ``--filename``."""

_RESULT = re.compile(r"(.+)_(\d+(\.\d+)?x|\d+x\d+)")
"""The stem of a result by the default names, of any run."""

_LONGEST_NAME = 255  # bytes, on all common file systems


def lexists(path: AnyPath) -> bool:
    """Whether there is a file or link of that name; a store is asked."""
    return os.path.lexists(path) if isinstance(path, Path) else path.exists()


@dataclass(frozen=True)
class Naming:
    """How results are named: by ``name_template``, ``format`` and ``animate`` of the config.

    Attributes:
        model: the value of ``{model}``.
        network_scale: the value of ``{scale}``, unless another one was asked for.
        output: the folder of the results, or with ``single`` the file; ``None``: beside each input.
        single: whether ``output`` is a file.
    """

    config: UpscaleConfig
    _: KW_ONLY
    model: str
    network_scale: int
    output: AnyPath | None = None
    single: bool = False

    def __post_init__(self) -> None:
        with as_usage_error(f"--filename {self.template}: "):
            fields = {field for _, field, _, _ in string.Formatter().parse(self.template) if field is not None}
        unknown = sorted(fields - set(FIELDS))
        if unknown:
            known = " ".join(f"{{{field}}}" for field in FIELDS)
            raise UsageError(f"--filename {self.template}: unknown field {{{unknown[0]}}}; choose from {known}")

    @property
    def template(self) -> str:
        """Of the name, with `FIELDS` in braces."""
        in_pixels = any((self.config.size, self.config.width, self.config.height, self.config.max_pixels))
        default = "{stem}_{width}x{height}.{ext}" if in_pixels else "{stem}_{scale}x.{ext}"
        return self.config.name_template or default

    @property
    def needs_size(self) -> bool:
        """Whether names contain the size of the result."""
        return "{width" in self.template or "{height" in self.template

    def path_for(self, source: Source, size: tuple[int, int] | None) -> AnyPath:
        """The path of the result; a `UsageError` if the template gives no valid name.

        Args:
            size: its width and height, if known.
        """
        if self.single and self.output is not None:
            return self.output
        width, height = size or (0, 0)
        try:
            name = self.template.format(
                stem=source.path.stem,
                ext=self.extension(source.path),
                scale=f"{self.config.scale or self.network_scale:g}",
                model=self.model,
                width=width,
                height=height,
            )
        except (ValueError, IndexError, AttributeError) as error:
            raise UsageError(f"--filename {self.template}: {error}") from error
        folder = source.path.parent if self.output is None else self.output / source.subfolder
        if not name.strip("./") or "\0" in name:
            raise UsageError(f"--filename {self.template}: gives {name!r} for {source.path}")
        path = folder / name
        if path.suffix.lower() not in (video.CONTAINERS if video.is_video(PurePath(source.path.name)) else SUFFIXES):
            raise UsageError(f"{path}: unknown image suffix {path.suffix!r}; end --filename in .{{ext}}")
        return path

    def extension(self, source: AnyPath) -> str:
        """The suffix of the result, without its dot."""
        if video.is_video(PurePath(source.name)):
            return source.suffix[1:] if source.suffix.lower() in video.CONTAINERS else "mkv"
        if self.config.format is not None:
            return FORMATS[self.config.format].suffixes[0][1:]
        format = SUFFIXES.get(source.suffix.lower())
        if format is None:
            return "png"
        written = format if self.config.animate else still_format(format)
        return source.suffix[1:] if written == format else FORMATS[written].suffixes[0][1:]


def still_format(format: str) -> str:
    """The output format for a still picture of a format: PNG for GIF, which would keep only 256 colors."""
    return FORMATS[format].still or format


@dataclass(frozen=True, kw_only=True)
class Job:
    """A picture to upscale and the path of its result.

    Attributes:
        skip: the result exists and stays.
        keep: whether a result that another process makes meanwhile stays, and this one is skipped.
        ask: whether the store is to be asked for the result when it is the picture's turn.
    """

    source: AnyPath
    output: AnyPath
    skip: bool = False
    overwrite: bool = False
    keep: bool = False
    ask: bool = False


def name_outputs(
    sources: Sequence[Source], naming: Naming, size_of: Callable[[Source], tuple[int, int] | None]
) -> tuple[list[tuple[Source, AnyPath]], list[AnyPath]]:
    """Name the results of a batch.

    Args:
        size_of: gives the size of a result (``None`` if unknown); called only if names contain it.

    Returns:
        Each source with the path of its result, and the sources left out because they are themselves results of other
        sources, from an earlier run.
    """
    named = [(source, naming.path_for(source, size_of(source) if naming.needs_size else None)) for source in sources]
    results = {canonical_path(path) for source, path in named if path != source.path}
    stems = {(source.path.parent, source.path.stem) for source, _ in named}

    def is_result(path: AnyPath) -> bool:
        match = _RESULT.fullmatch(path.stem)
        return canonical_path(path) in results or (match is not None and (path.parent, match[1]) in stems)

    kept, left_out = [], []
    for source, path in named:
        if source.named or not is_result(source.path):
            kept.append((source, path))
        else:
            left_out.append(source.path)
    return (kept, left_out) if kept else (named, [])


def resolve_existing(
    named: Iterable[tuple[Source, AnyPath]], policy: IfExists | None, exists: Callable[[AnyPath], bool] = lexists
) -> list[Job]:
    """Decide about results that exist, that share a name, or that would replace an input.

    Args:
        policy: for existing files; ``None``: ``fail`` for inputs that were named, ``skip`` for all others.
        exists: whether a result is there.

    Raises:
        UsageError: two results would have the same name, or a result would replace an input.
        OutputError: a result exists, and the policy is ``fail``; or a name is too long for a file.
    """
    named = list(named)
    if policy == "rename":
        named = _with_free_names(named, exists)
    _refuse_collisions(named)
    inputs = _identities(source.path for source, _ in named)
    jobs = []
    for source, path in named:
        if isinstance(path, Path) and len(os.fsencode(path.name)) > _LONGEST_NAME:
            raise OutputError(f"{path.name}: is a name of more than {_LONGEST_NAME} bytes; choose another --filename")
        if_exists = policy or ("fail" if source.named else "skip")
        is_there = exists(path)
        is_input = is_there and not _identities([path]).isdisjoint(inputs)
        if is_input and (if_exists != "skip" or _identities([path]) & _identities([source.path])):
            raise UsageError(f"{path}: the result would replace an input; choose another -o or --filename")
        if is_there and path.is_dir():
            raise OutputError(f"{path}: is a folder")
        if is_there and if_exists == "fail":
            raise OutputError(f"{path}: already exists; choose --overwrite, --skip-existing or --if-exists rename")
        skip, overwrite = is_there and if_exists == "skip", if_exists == "overwrite"
        keep = if_exists == "skip"
        jobs.append(Job(source=source.path, output=path, skip=skip, overwrite=overwrite, keep=keep))
    return jobs


def _with_free_names(
    named: list[tuple[Source, AnyPath]], exists: Callable[[AnyPath], bool]
) -> list[tuple[Source, AnyPath]]:
    """``a_4x.png``, ``a_4x-2.png``, ``a_4x-3.png`` …"""
    taken: set[AnyPath] = set()
    result = []
    for source, path in named:
        free, number = path, 1
        while canonical_path(free) in taken or exists(free):
            number += 1
            free = path.parent / f"{path.stem}-{number}{path.suffix}"
        taken.add(canonical_path(free))
        result.append((source, free))
    return result


def _refuse_collisions(named: Sequence[tuple[Source, AnyPath]]) -> None:
    by_result = defaultdict(list)
    for source, path in named:
        by_result[canonical_path(path)].append((source.path, path))
    clashes = [each for each in by_result.values() if len(each) > 1]
    if clashes:
        (first, path), (second, _), *_ = clashes[0]
        more = f" ({len(clashes) - 1} more such names)" if len(clashes) > 1 else ""
        raise UsageError(
            f"{path}: would be the result of both {first} and {second}{more}; "
            "choose another --filename, or --if-exists rename"
        )


def _identities(paths: Iterable[AnyPath]) -> set[object]:
    """Device and inode of each file, with links followed; in a store, the path."""
    found: set[object] = set()
    for path in paths:
        if isinstance(path, StorePath):
            found.add(path)
            continue
        try:
            status = path.stat()
            found.add((status.st_dev, status.st_ino))
        except (OSError, ValueError):
            found.add(canonical_path(path))
    return found
