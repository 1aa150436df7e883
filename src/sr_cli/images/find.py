"""The image files in a folder."""

import os
from collections.abc import Callable
from pathlib import Path

from sr_cli.errors import ImageError
from sr_cli.images.formats import SUFFIXES


def find_images(
    path: Path, *, recursive: bool = False, on_unreadable: Callable[[ImageError], None] | None = None
) -> list[Path]:
    """The files in a folder whose suffix names an image format, sorted by path.

    Symbolic links to files count, those to folders are not followed (so no loop is). Hidden files and folders, whose
    names begin with a dot, are passed over.

    Args:
        recursive: whether to look into folders within the folder.
        on_unreadable: told of each folder within that cannot be read, instead of an error.

    Raises:
        ImageError: the folder, or one within, is missing or unreadable, or there is no image.
    """
    try:
        is_folder = path.is_dir()
        if not is_folder:
            reason = "is not a folder" if os.path.lexists(path) else "no such folder"
            raise ImageError(f"{path}: {reason}")
        found = sorted(_images_in(path, recursive=recursive, on_unreadable=on_unreadable))
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        raise _unreadable(path, error) from error
    if not found:
        raise ImageError(f"{path}: no images in this folder" + ("" if recursive else " (folders within not searched)"))
    return found


def _images_in(folder: Path, *, recursive: bool, on_unreadable: Callable[[ImageError], None] | None) -> list[Path]:
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                if not recursive:
                    continue
                within = Path(entry.path)
                try:
                    found += _images_in(within, recursive=True, on_unreadable=on_unreadable)
                except OSError as error:
                    if on_unreadable is None:
                        raise
                    on_unreadable(_unreadable(within, error))
            elif Path(entry.name).suffix.lower() in SUFFIXES:
                file = Path(entry.path)
                # Unlike those of entry no error for a link that leads to itself. A named pipe would be waited for.
                if not (file.is_dir() or file.is_fifo()):
                    found.append(file)
    return found


def _unreadable(folder: Path, error: OSError | ValueError) -> ImageError:
    where = getattr(error, "filename", None) or folder
    return ImageError(f"{where}: cannot be read ({getattr(error, 'strerror', None) or error})")
