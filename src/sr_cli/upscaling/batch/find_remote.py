"""The pictures that URLs name, a folder at a time, so that a bucket of any size can be worked through."""

import functools
import glob
import os
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path, PurePath

from sr_cli import images, video
from sr_cli.errors import ImageError, NoImagesError, OutputError, SrError
from sr_cli.upscaling.batch.find_inputs import Source, left_out
from sr_cli.upscaling.batch.stores import AnyPath, StorePath, any_path, attempt, entries

_GROUP = 1000  # names of a list that are looked at together


def find_groups(
    urls: Sequence[str],
    listed: Sequence[str],
    *,
    recursive: bool = False,
    output: AnyPath | None = None,
    on_error: Callable[[SrError], None],
    on_note: Callable[[str], None],
) -> Iterator[list[Source]]:
    """Find the pictures of a batch in stores, lazily.

    What ends in the suffix of a picture is taken for a file without asking; a page of the web is one, too.

    Args:
        listed: more files or folders, from a list; files keep their folders of the store below the output folder.
        output: the folder of the results; it is not searched, unless it was given.
        on_error, on_note: called with what could not be listed, and with what was left out.

    Yields:
        The sources of a folder, or of a part of the list.
    """
    paths = [any_path(text) for text in urls]
    several = len(paths) > 1
    excluded = None if output in paths else output
    for path in paths:
        assert isinstance(path, StorePath)
        try:
            if is_file(path):
                yield [Source(path=path, named=True)]
            elif glob.has_magic(path.path) and not path.exists(ImageError):
                yield _matching(path)
            else:
                root = PurePath(path.name) if several else PurePath()
                yield from _in_folder(
                    path, root, recursive=recursive, excluded=excluded, on_error=on_error, on_note=on_note
                )
        except SrError as error:
            on_error(error)
    names = iter(listed)
    while some := list(islice(names, _GROUP)):
        yield [Source(path=path, subfolder=_folders_of(path)) for path in map(any_path, some)]


def is_file(path: StorePath) -> bool:
    """Whether a given URL means a file: by its suffix, else by what the store says."""
    if path.is_web:
        return True
    is_named_like_one = path.suffix.lower() in (*images.SUFFIXES, *video.SUFFIXES)
    if glob.has_magic(path.path):
        return is_named_like_one and path.exists(ImageError)
    return is_named_like_one or bool(attempt(lambda: path.store.isfile(path.path), path, ImageError))


class Existing:
    """Which results are there already; a store is asked once for each folder."""

    def __init__(self) -> None:
        self._names = functools.lru_cache(maxsize=32)(lambda folder: frozenset(entries(folder, OutputError)[0]))

    def __call__(self, path: AnyPath) -> bool:
        if isinstance(path, Path):
            return os.path.lexists(path)
        return path.name in self._names(path.parent)


def _in_folder(
    folder: StorePath,
    root: PurePath,
    *,
    recursive: bool,
    excluded: AnyPath | None,
    on_error: Callable[[SrError], None],
    on_note: Callable[[str], None],
) -> Iterator[list[Source]]:
    is_empty, videos, pending = True, list[StorePath](), [(folder, PurePath())]
    while pending:
        place, below = pending.pop()
        if place == excluded:
            continue
        try:
            files, folders = ([name for name in names if not name.startswith(".")] for names in entries(place))
        except SrError as error:
            if place == folder:
                raise
            on_error(error)
            continue
        if recursive and "" in folders:
            on_error(ImageError(f"{place}//: a folder without a name cannot be searched"))
        folders = [name for name in folders if name]
        if recursive:
            pending += [(place / name, below / name) for name in reversed(folders)]
        elif folders:
            on_note(f"{folder}: {len(folders)} subfolder{'s' * (len(folders) > 1)} not searched; -r includes them")
        pictures = [name for name in files if PurePath(name).suffix.lower() in images.SUFFIXES]
        videos += [place / name for name in files if video.is_video(PurePath(name)) and not name.endswith(".ts")]
        if pictures:
            is_empty = False
            yield [Source(path=place / name, subfolder=root / below) for name in pictures]
    if videos:
        on_note(left_out(videos))
    if is_empty:
        raise NoImagesError(f"{folder}: no images in this folder" + ("" if recursive else " (subfolders not searched)"))


def _matching(pattern: StorePath) -> list[Source]:
    found = attempt(lambda: pattern.store.glob(pattern.path), pattern, ImageError)
    parts = pattern.path.split("/")
    first = next(i for i, part in enumerate(parts) if glob.has_magic(part))
    paths = [StorePath(pattern.store, path) for path in sorted(found)]
    wanted = (*images.SUFFIXES, *(video.SUFFIXES if video.is_video(PurePath(pattern.name)) else ()))  # such as *.mp4
    pictures = [path for path in paths if path.suffix.lower() in wanted]
    if not pictures:
        raise NoImagesError(f"{pattern}: no image matches this pattern")
    return [Source(path=path, subfolder=PurePath(*path.path.split("/")[first:-1])) for path in pictures]


def _folders_of(path: AnyPath) -> PurePath:
    """The folders of a file below its bucket; none for a page of the web."""
    if isinstance(path, Path) or path.is_web:
        return PurePath()
    return PurePath(*path.path.strip("/").split("/")[1:-1])
