"""Finding the image files in a folder."""

import os
from collections.abc import Callable
from pathlib import Path

from sr_cli.errors import ImageError, NoImagesError
from sr_cli.images.formats import SUFFIXES


def find_images(
    path: Path,
    *,
    recursive: bool = False,
    on_unreadable: Callable[[ImageError], None] | None = None,
    on_other: Callable[[Path], None] = lambda _: None,
) -> list[Path]:
    """Find the files in a folder that have an image format's suffix, sorted by path.

    Symbolic links to files count; those to folders are not followed, which also avoids loops. Hidden files and folders,
    whose names begin with a dot, are skipped.

    Args:
        on_unreadable: called with the error for each unreadable subfolder, in place of raising it.
        on_other: called with each file that isn't hidden and has another suffix.

    Raises:
        ImageError: the folder is missing, it or a subfolder is unreadable, or there is no image.
    """

    def on_error(error: OSError) -> None:
        unreadable = ImageError(f"{error.filename}: cannot be read ({error.strerror})")
        if on_unreadable is None or Path(error.filename) == path:
            raise unreadable from error
        on_unreadable(unreadable)

    try:
        if not path.is_dir():
            reason = "is not a folder" if os.path.lexists(path) else "no such folder"
            raise ImageError(f"{path}: {reason}")
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        raise ImageError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from error
    found = []
    for folder, subfolders, names in os.walk(path, onerror=on_error):
        subfolders[:] = [name for name in subfolders if recursive and not name.startswith(".")]
        for name in names:
            file = Path(folder, name)
            if name.startswith("."):
                continue
            if file.suffix.lower() not in SUFFIXES:
                on_other(file)
            elif not file.is_fifo():  # reading a named pipe would block
                found.append(file)
    if not found:
        raise NoImagesError(f"{path}: no images in this folder" + ("" if recursive else " (subfolders not searched)"))
    return sorted(found)
