"""The size and format of a picture from its file's header, without decoding it."""

from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from PIL.ExifTags import Base

from sr_cli.errors import SrError
from sr_cli.images.formats import FORMATS
from sr_cli.images.picture import Header
from sr_cli.images.reading import open_by_pillow, open_seekable, own_format, raise_image_errors
from sr_cli.video import is_video, read_film

_NO_LIMIT = 1 << 40


def read_header(source: Path | BinaryIO, *, upright: bool = True) -> Header:
    """The format of the first picture of a file, and its size; an `ImageError` if there is none that can be read.

    Args:
        upright: give the size once it is upright; for PNG that takes a look at the whole file.
    """
    with open_seekable(source, _NO_LIMIT) as (file, name), raise_image_errors(name):
        own = own_format(file)
        if own and own.header_reader:
            return own.header_reader(file)
        image = open_by_pillow(file, _NO_LIMIT)
        format = "JPEG" if image.format == "MPO" else str(image.format)
        is_transposed = upright and image.getexif().get(Base.Orientation, 1) in (5, 6, 7, 8)
        width, height = (image.height, image.width) if is_transposed else (image.width, image.height)
        return Header(format=format, width=width, height=height)


def size_of(path: Path) -> tuple[int, int]:
    """Width and height of the picture, or of a video's frames, once it is upright; errors as in `read_header`."""
    if is_video(path):
        film, _ = read_film(path, max_pixels=_NO_LIMIT, deinterlace=True)
        return film.size
    header = read_header(path)
    return header.width, header.height


def detect_format(path: Path) -> str:
    """The format of the file's content, a key of `FORMATS`; PNG if it cannot be read."""
    with suppress(SrError):
        if (format := read_header(path, upright=False).format) in FORMATS:
            return format
    return "PNG"
