"""The size and format of a picture from its file's header, without decoding it."""

from pathlib import Path

from PIL.ExifTags import Base

from sr_cli.errors import SrError
from sr_cli.images.formats import FORMATS
from sr_cli.images.reading import open_by_pillow, open_seekable, raise_image_errors
from sr_cli.video import is_video, read_film

_NO_LIMIT = 1 << 40


def size_of(path: Path) -> tuple[int, int]:
    """Width and height of the picture, or of a video's frames, once it is upright.

    Raises:
        ImageError: missing, unreadable, or not an image.
    """
    if is_video(path):
        film, _ = read_film(path, max_pixels=_NO_LIMIT, deinterlace=True)
        return film.width, film.height
    with open_seekable(path, _NO_LIMIT) as (file, name), raise_image_errors(name):
        image = open_by_pillow(file, _NO_LIMIT)
        is_transposed = image.getexif().get(Base.Orientation, 1) in (5, 6, 7, 8)
        return (image.height, image.width) if is_transposed else (image.width, image.height)


def size_or_none(path: Path) -> tuple[int, int] | None:
    """`size_of`, or ``None`` where it raises."""
    try:
        return size_of(path)
    except SrError:
        return None


def detect_format(path: Path) -> str:
    """The format of the file's content, a key of `FORMATS`; PNG if it cannot be read."""
    try:
        with open_seekable(path, _NO_LIMIT) as (file, name), raise_image_errors(name):
            format = str(open_by_pillow(file, _NO_LIMIT).format)
    except SrError:
        return "PNG"
    return format if format in FORMATS else "JPEG" if format == "MPO" else "PNG"
