"""How large a picture is and of what format, from its file's header."""

from pathlib import Path

from sr_cli.errors import SrError
from sr_cli.images import FORMATS
from sr_cli.images.reading import damage_named, open_by_pillow, opened

_ORIENTATION = 0x0112
_NO_LIMIT = 1 << 40


def size_of(path: Path) -> tuple[int, int]:
    """Width and height of the picture as it is seen, upright. Nothing is decoded.

    Raises:
        ImageError: missing, unreadable, or not an image.
    """
    with opened(path, _NO_LIMIT) as (file, name), damage_named(name):
        image = open_by_pillow(file, _NO_LIMIT)
        turned = image.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8)
        return (image.height, image.width) if turned else (image.width, image.height)


def format_of(path: Path) -> str:
    """The format of the file, as in `sr_cli.images.Picture`; PNG where it cannot be told."""
    try:
        with opened(path, _NO_LIMIT) as (file, name), damage_named(name):
            format = str(open_by_pillow(file, _NO_LIMIT).format)
    except SrError:
        return "PNG"
    return format if format in FORMATS else "JPEG" if format == "MPO" else "PNG"


def size_or_none(path: Path) -> tuple[int, int] | None:
    """`size_of`; ``None`` where it cannot be told."""
    try:
        return size_of(path)
    except SrError:
        return None
