"""The image files in a folder."""

from pathlib import Path

from sr_cli.errors import ImageError
from sr_cli.images.formats import SUFFIXES


def find_images(path: Path, *, recursive: bool = False) -> list[Path]:
    """The image files in a folder by their suffixes, sorted.

    Raises:
        ImageError: the folder is missing or unreadable, or has no image.
    """
    if path.is_file():
        return [path]
    try:
        found = sorted(p for p in (path.rglob("*") if recursive else path.iterdir()) if p.suffix.lower() in SUFFIXES)
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror or error})") from error
    if not found:
        raise ImageError(f"{path}: no images in this folder" + ("" if recursive else " (subfolders not searched)"))
    return found
