"""Reading and writing animations, frame by frame."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from sr_cli.config import MAX_PIXELS
from sr_cli.errors import ImageError
from sr_cli.images.formats import ANIMATED_FORMATS, check_side, format_of_suffix, in_describable_colors
from sr_cli.images.picture import Picture, Unfit
from sr_cli.images.reading import (
    decode,
    decode_frame,
    load_pixels,
    open_by_pillow,
    open_seekable,
    own_format,
    raise_image_errors,
    to_picture,
)
from sr_cli.images.writing import pillow_options, save, to_pillow
from sr_cli.system.atomic_files import atomic_write

_MAX_FULL_SIZE_FRAMES = 16


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One picture of an animation and how long it is shown, in milliseconds."""

    picture: Picture
    duration: float


@dataclass(frozen=True, kw_only=True)
class Animation:
    """An open animation.

    Attributes:
        count: the number of frames; 1 for a still picture.
        loop: how often it plays; 0 is forever.
        frames: complete frames, as a viewer shows them; can be iterated once, while the file is open.
    """

    count: int
    loop: int
    frames: Iterator[Frame]


@contextmanager
def open_animation(source: Path | BinaryIO, *, max_pixels: int = MAX_PIXELS) -> Iterator[Animation]:
    """Open an animation to read its frames one by one, at 8 bits.

    A still picture of any format is an animation of one frame, at its own bit depth.

    Args:
        max_pixels: the most pixels of one frame; all frames together may have 16 times as many.

    Raises:
        ImageError: for the same reasons as in `read`; also while iterating over the frames.
    """
    with open_seekable(source, max_pixels) as (file, name):
        with raise_image_errors(name):
            own = own_format(file)
            image = None if own and not own.animated else open_by_pillow(file, max_pixels)
            count = int(getattr(image, "n_frames", 1)) if image and image.format in ANIMATED_FORMATS else 1
            if image is None or count == 1:
                still = Frame(picture=to_picture(decode(file, max_pixels)), duration=0)
                animation = Animation(count=1, loop=0, frames=iter([still]))
            else:
                if count * image.width * image.height > _MAX_FULL_SIZE_FRAMES * max_pixels:
                    raise Unfit(f"has {count} frames of {image.width} × {image.height} pixels, which is over the limit")
                # An animated PNG may have a still picture for viewers without animation: it isn't one of the frames.
                first = int(getattr(image, "default_image", False))
                loop = image.info.get("loop", 1 if image.format == "GIF" else 0)
                frames = _frames(image, name, range(first, count))
                animation = Animation(count=count - first, loop=loop, frames=frames)
        yield animation


def count_frames(path: Path) -> int:
    """The frames of an animation; 1 for a still picture, and for a file that cannot be read."""
    with suppress(ImageError), open_seekable(path, MAX_PIXELS) as (file, name), raise_image_errors(name):
        return int(getattr(open_by_pillow(file, MAX_PIXELS), "n_frames", 1))
    return 1


def holds_several(path: Path) -> bool:
    """Whether a file holds more pictures than its first, such as the pages of a TIFF; false if it cannot be read."""
    with suppress(ImageError), open_seekable(path, MAX_PIXELS) as (file, name), raise_image_errors(name):
        open_by_pillow(file, MAX_PIXELS).seek(1)  # counting all of them takes long in a hostile file
        return True
    return False


def _frames(image: Image.Image, name: str, indices: range) -> Iterator[Frame]:
    for index in indices:
        with raise_image_errors(name):
            image.seek(index)
            picture = to_picture(decode_frame(load_pixels(image)))
            frame = Frame(picture=picture, duration=float(image.info.get("duration") or 0))
        yield frame


def write_animation(
    frames: Iterable[Frame],
    path: Path,
    *,
    loop: int,
    format: str | None = None,
    quality: int | None = None,
    overwrite: bool = True,
) -> None:
    """Write the frames as GIF, WebP, AVIF or animated PNG, at 8 bits; the file appears atomically.

    Args:
        frames: all of one size; taken one by one, but the encoder keeps them all.

    Raises:
        ImageError: no frames, a format without animation, or frames too large for it.
        OutputError: the file cannot be written.
    """
    format = format or format_of_suffix(path)
    if format not in ANIMATED_FORMATS:
        raise ImageError(f"{path}: {format} doesn't support animation; choose from {', '.join(ANIMATED_FORMATS)}")
    waiting = iter(frames)
    first = next(waiting, None)
    if first is None:
        raise ImageError(f"{path}: no frames to write")
    check_side(format, first.picture.width, first.picture.height)
    durations = []

    def convert(frames: Iterable[Frame]) -> Iterator[Image.Image]:
        # Pillow takes a frame before it looks up its duration, so the list may grow meanwhile.
        for frame in frames:
            durations.append(round(frame.duration))
            yield to_pillow(in_describable_colors(frame.picture, format), format)

    like = in_describable_colors(first.picture, format)
    options = pillow_options(like, format, quality)
    if format == "GIF":
        options["disposal"] = 2  # frames are complete, so the previous one must not show through
    if not (format == "GIF" and loop == 1):
        options["loop"] = loop
    with atomic_write(path, overwrite=overwrite) as file:
        [image] = convert([first])
        others: Iterable[Image.Image] = convert(waiting)
        if format != "GIF":
            others = list(others)  # only the GIF encoder iterates over them once
        save(image, file, like, format, save_all=True, append_images=others, duration=durations, **options)
