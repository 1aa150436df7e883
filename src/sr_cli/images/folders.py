"""The image files in a folder."""

import os
from pathlib import Path

from sr_cli.errors import ImageError
from sr_cli.images.formats import SUFFIXES


def find_images(path: Path, *, recursive: bool = False) -> list[Path]:
    """The files in a folder whose suffix names an image format, sorted by path.

    Symbolic links to files count, those to folders are not followed (so no loop is). Hidden files and folders, whose
    names begin with a dot, are passed over.

    Args:
        recursive: whether to look into folders within the folder.

    Raises:
        ImageError: the folder, or one within, is missing or unreadable, or there is no image.
    """
    try:
        is_folder = path.is_dir()
        if not is_folder:
            reason = "is not a folder" if os.path.lexists(path) else "no such folder"
            raise ImageError(f"{path}: {reason}")
        found = sorted(_images_in(path, recursive=recursive))
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        where = getattr(error, "filename", None) or path
        raise ImageError(f"{where}: cannot be read ({getattr(error, 'strerror', None) or error})") from error
    if not found:
        raise ImageError(f"{path}: no images in this folder" + ("" if recursive else " (folders within not searched)"))
    return found


def _images_in(folder: Path, *, recursive: bool) -> list[Path]:
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                if recursive:
                    found += _images_in(Path(entry.path), recursive=True)
            elif Path(entry.name).suffix.lower() in SUFFIXES:
                file = Path(entry.path)
                if not file.is_dir():
                    found.append(file)
    return found
