"""The pictures that the command line names: files, folders, patterns, lists."""

import codecs
import glob
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from sr_cli import images, video
from sr_cli.errors import ImageError, NoImagesError, SrError, UsageError
from sr_cli.upscaling.batch.stores import AnyPath, StorePath

_is_folder = os.path.isdir  # false for a name that no file can have, where `Path.is_dir` may raise


@dataclass(frozen=True, kw_only=True)
class Source:
    """A picture to upscale.

    Attributes:
        subfolder: the folder of its result, relative to the output folder.
        named: whether the command line gave its exact name.
    """

    path: AnyPath
    subfolder: PurePath = field(default_factory=PurePath)
    named: bool = False


def find_inputs(
    given: Sequence[str],
    *,
    listed: Sequence[str] = (),
    recursive: bool = False,
    output: AnyPath | None = None,
    on_error: Callable[[SrError], None],
    on_note: Callable[[str], None],
) -> list[Source]:
    """Find the pictures of a batch, each file once.

    Args:
        given: files, folders, or patterns that the shell has not expanded.
        listed: more files or folders, from a list; relative paths keep their folders below the output folder.
        output: the folder of the results; files in it are left out, unless it is one of the given folders.
        on_error, on_note: called with what could not be read, and with what was left out.

    Raises:
        ImageError: there is no picture at all.
        UsageError: a name is empty; it would stand for the current folder.
    """
    if "" in given:
        raise UsageError("an input is an empty name; the current folder is .")
    problems: list[SrError] = []
    videos: list[Path] = []
    sources: list[Source] = []
    several = sum(map(_is_folder, [*given, *listed])) > 1

    for text, in_list in [*((each, False) for each in given), *((each, True) for each in listed)]:
        path = Path(text)
        try:
            if _is_folder(text):
                root = PurePath(path.resolve().name) if several else PurePath()
                sources += _in_folder(path, root, recursive=recursive, problems=problems, videos=videos)
            elif in_list:
                relative = not path.is_absolute() and ".." not in path.parts
                sources.append(Source(path=path, subfolder=path.parent if relative else PurePath()))
            elif not os.path.lexists(path) and glob.has_magic(text):
                sources += _matching(text)
            else:
                sources.append(Source(path=path, named=True))
        except SrError as error:
            problems.append(error)

    excluded = _canonical(output) if isinstance(output, Path) else None
    if excluded in {_canonical(Path(each)) for each in given}:
        excluded = None
    kept: dict[Path, Source] = {}
    for source in reversed(sources):  # of a file that was found and named, the first mention counts
        path = _canonical(Path(str(source.path)))
        if excluded is None or not path.is_relative_to(excluded):
            kept[path] = source
    if not kept:
        raise problems[0] if problems else NoImagesError("no images to upscale")
    for problem in problems:
        on_error(problem)
    for folder in [] if recursive else [Path(each) for each in [*given, *listed] if _is_folder(each)]:
        if count := _subfolders(folder):
            on_note(f"{folder}: {count} not searched; -r includes them")
    if videos:
        on_note(left_out(videos))
    return list(reversed(kept.values()))


def read_list(content: bytes) -> list[str]:
    """The names in a list: one per line, or null-separated (``find -print0``) if it contains a null character.

    Empty names are nothing; a byte order mark is understood, that of UTF-16 too.
    """
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        content = content.decode("utf-16", "replace").encode("utf-8", "replace")
    content = content.removeprefix(codecs.BOM_UTF8)
    if b"\0" in content:
        names = content.split(b"\0")
    else:
        names = [line.removesuffix(b"\r") for line in content.split(b"\n")]
    return [os.fsdecode(name) for name in names if name]


def left_out(videos: Sequence[AnyPath]) -> str:
    """The note on the videos of a folder."""
    return f"{_count(len(videos), 'video')} left out, such as {videos[0]}; name videos to upscale them"


def canonical_path(path: AnyPath) -> AnyPath:
    """The same path for every spelling; a link as the last part is not followed."""
    return path if isinstance(path, StorePath) else _canonical(path)


def _canonical(path: Path) -> Path:
    try:
        return path.parent.resolve() / path.name
    except (OSError, RuntimeError, ValueError):  # RuntimeError: a loop of links
        return path.absolute()


def _in_folder(
    folder: Path, root: PurePath, *, recursive: bool, problems: list[SrError], videos: list[Path]
) -> list[Source]:
    def on_other(file: Path) -> None:
        if video.is_video(file) and file.suffix != ".ts":  # TypeScript, too
            videos.append(file)

    before = len(problems)
    try:
        found = images.find_images(folder, recursive=recursive, on_unreadable=problems.append, on_other=on_other)
    except ImageError:
        if len(problems) > before:
            return []
        if videos:
            raise NoImagesError(f"{folder}: only videos in this folder; name them to upscale them") from None
        raise
    return [Source(path=path, subfolder=root / path.relative_to(folder).parent) for path in found]


def _matching(pattern: str) -> list[Source]:
    parts = Path(pattern).parts
    first = next(i for i, part in enumerate(parts) if glob.has_magic(part))
    # Path.glob would need the folder and the pattern apart.
    found = [Path(each) for each in sorted(glob.glob(pattern, recursive=True))]  # noqa: PTH207
    wanted = (*images.SUFFIXES, *(video.SUFFIXES if video.is_video(Path(pattern)) else ()))  # such as *.mp4
    pictures = [path for path in found if path.suffix.lower() in wanted and path.is_file()]
    if not pictures:
        raise NoImagesError(f"{pattern}: no image matches this pattern")
    return [Source(path=path, subfolder=path.relative_to(Path(*parts[:first])).parent) for path in pictures]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number > 1)}"


def _subfolders(folder: Path) -> str:
    """``1 subfolder``, ``2 subfolders``; empty for none."""
    try:
        number = sum(each.is_dir() and not each.name.startswith(".") for each in folder.iterdir())
    except OSError:
        return ""  # it is among the problems
    return _count(number, "subfolder") if number else ""
