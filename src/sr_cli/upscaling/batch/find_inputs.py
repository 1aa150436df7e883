"""Which pictures a command line means: files, folders, patterns, lists."""

import glob
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from sr_cli import images
from sr_cli.errors import ImageError, SrError

_MAGIC = "*?["


@dataclass(frozen=True, kw_only=True)
class Source:
    """A picture to upscale.

    Attributes:
        path: the file.
        below: the folder it goes to, relative to the output folder.
        named: whether somebody gave its very name, on the command line.
    """

    path: Path
    below: PurePath = field(default_factory=PurePath)
    named: bool = False


@dataclass(frozen=True, kw_only=True)
class Found:
    """What there is to do.

    Attributes:
        sources: each file once.
        problems: what could not be looked into.
    """

    sources: Sequence[Source]
    problems: Sequence[SrError]


def gather(
    given: Iterable[str], *, listed: Iterable[str] = (), recursive: bool = False, without: Path | None = None
) -> Found:
    """Find the pictures.

    Args:
        given: files, folders, or patterns that the shell has left alone.
        listed: more files or folders, from a list; relative ones keep their folders below the output folder.
        recursive: look into folders within folders.
        without: a folder of outputs: what lies in it is passed over.

    Raises:
        ImageError: there is no picture at all.
    """
    given, listed = list(given), list(listed)
    problems: list[SrError] = []
    sources: list[Source] = []
    folders = sum(_is_folder(Path(each)) for each in [*given, *listed])

    def look(text: str, *, in_list: bool) -> None:
        path = Path(text)
        try:
            if _is_folder(path):
                root = PurePath(path.resolve().name) if folders > 1 else PurePath()
                sources.extend(_in_folder(path, root, recursive=recursive, problems=problems))
            elif in_list:
                relative = not path.is_absolute() and ".." not in path.parts
                sources.append(Source(path=path, below=path.parent if relative else PurePath()))
            elif not os.path.lexists(path) and any(sign in text for sign in _MAGIC):
                sources.extend(_matching(text))
            else:
                sources.append(Source(path=path, named=True))
        except SrError as error:
            problems.append(error)

    for text in given:
        look(text, in_list=False)
    for text in listed:
        look(text, in_list=True)
    avoided = without and place(without)
    kept = {
        place(source.path): source
        for source in reversed(sources)
        if avoided is None or not place(source.path).is_relative_to(avoided)
    }
    if not kept:
        raise problems[0] if problems else ImageError("no images to upscale")
    return Found(sources=list(reversed(kept.values())), problems=problems)


def read_list(content: bytes) -> list[str]:
    """The names in a list: one a line, or each ended by a null character (``find -print0``) if there is any."""
    separator = b"\0" if b"\0" in content else b"\n"
    return [
        os.fsdecode(name.removesuffix(b"\r") if separator == b"\n" else name)
        for name in content.split(separator)
        if name
    ]


def _in_folder(folder: Path, root: PurePath, *, recursive: bool, problems: list[SrError]) -> list[Source]:
    before = len(problems)
    try:
        found = images.find_images(folder, recursive=recursive, on_unreadable=problems.append)
    except ImageError:
        if len(problems) > before:
            return []
        raise
    return [Source(path=path, below=root / path.relative_to(folder).parent) for path in found]


def _matching(pattern: str) -> list[Source]:
    fixed = Path(*_fixed_parts(pattern))
    # Not Path.glob, which wants the folder apart from the pattern.
    found = [Path(each) for each in sorted(glob.glob(pattern, recursive=True))]  # noqa: PTH207
    pictures = [path for path in found if path.suffix.lower() in images.SUFFIXES and path.is_file()]
    if not pictures:
        raise ImageError(f"{pattern}: no image matches this pattern")
    return [Source(path=path, below=path.relative_to(fixed).parent) for path in pictures]


def _fixed_parts(pattern: str) -> list[str]:
    parts = Path(pattern).parts
    first = next(i for i, part in enumerate(parts) if any(sign in part for sign in _MAGIC))
    return list(parts[:first])


def place(path: Path) -> Path:
    """Where a path leads, whatever its spelling; a link at its very end is not followed."""
    try:
        return path.parent.resolve() / path.name
    except (OSError, RuntimeError, ValueError):  # RuntimeError: links that lead in circles
        return path.absolute()


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):  # ValueError: a null character in the name
        return False
