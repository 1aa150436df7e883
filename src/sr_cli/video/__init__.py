"""Video files: frames decoded one by one, encoded in segments, and everything else of the file copied. Uses PyAV."""

from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from sr_cli.config import MAX_PIXELS
from sr_cli.errors import ImageError

if TYPE_CHECKING:
    from sr_cli.images import Picture
    from sr_cli.video.decoding import Film

CONTAINERS = (".mp4", ".m4v", ".mov", ".mkv", ".webm")
"""Suffixes of the files that are written."""

SUFFIXES = (
    *CONTAINERS, ".3gp", ".avi", ".flv", ".m2ts", ".mpeg", ".mpg", ".mts", ".mxf", ".ogv", ".ts", ".vob", ".wmv"
)  # fmt: skip
"""Suffixes of the files that are read."""


def is_video(path: PurePath) -> bool:
    """Whether the name is that of a video."""
    return path.suffix.lower() in SUFFIXES


def even_size(size: tuple[int, int]) -> tuple[int, int]:
    """The largest even size within ``size``: codecs store colors for pairs of pixels."""
    return max(2, size[0] // 2 * 2), max(2, size[1] // 2 * 2)


def read_film(path: Path, *, max_pixels: int = MAX_PIXELS, deinterlace: bool = False) -> "tuple[Film, Picture]":
    """What a video is, and its first frame.

    Args:
        max_pixels: the most pixels of a frame.
        deinterlace: whether it may be interlaced.

    Raises:
        ImageError: PyAV isn't installed; or the file is missing, damaged, cut off, or no such video.
    """
    try:
        from sr_cli.video import decoding
    except ModuleNotFoundError as error:
        if error.name != "av":
            raise
        raise ImageError(f"{path}: is a video, which needs the package av: python -m pip install av") from None
    return decoding.read_film(path, max_pixels=max_pixels, deinterlace=deinterlace)
