"""Finding the image files in a folder."""

import os
from collections.abc import Callable
from pathlib import Path

from sr_cli.errors import ImageError
from sr_cli.images.formats import SUFFIXES


def find_images(
    path: Path, *, recursive: bool = False, on_unreadable: Callable[[ImageError], None] | None = None
) -> list[Path]:
    """Find the files in a folder that have an image format's suffix, sorted by path.

    Symbolic links to files count; those to folders are not followed, which also avoids loops. Hidden files and folders,
    whose names begin with a dot, are skipped.

    Args:
        recursive: whether to search subfolders.
        on_unreadable: called with the error for each unreadable subfolder, in place of raising it.

    Raises:
        ImageError: the folder is missing, it or a subfolder is unreadable, or there is no image.
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
        raise ImageError(f"{path}: no images in this folder" + ("" if recursive else " (subfolders not searched)"))
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
                subfolder = Path(entry.path)
                try:
                    found += _images_in(subfolder, recursive=True, on_unreadable=on_unreadable)
                except OSError as error:
                    if on_unreadable is None:
                        raise
                    on_unreadable(_unreadable(subfolder, error))
            elif Path(entry.name).suffix.lower() in SUFFIXES:
                file = Path(entry.path)
                # Path's methods, since those of entry raise on a link to itself. Reading a named pipe would block.
                if not (file.is_dir() or file.is_fifo()):
                    found.append(file)
    return found


def _unreadable(folder: Path, error: OSError | ValueError) -> ImageError:
    where = getattr(error, "filename", None) or folder
    return ImageError(f"{where}: cannot be read ({getattr(error, 'strerror', None) or error})")
