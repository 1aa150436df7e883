"""Animations: every frame with the time it stays, in and out."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from sr_cli.errors import ImageError
from sr_cli.images.formats import FORMATS, check_side, format_of
from sr_cli.images.picture import Picture, Unfit
from sr_cli.images.reading import (
    MAX_PIXELS,
    damage_named,
    decoded,
    decoded_by_pillow,
    finished,
    loaded,
    open_by_pillow,
    opened,
)
from sr_cli.images.writing import pillow_image, pillow_options
from sr_cli.system.atomic_files import atomic_write

ANIMATED_FORMATS = ("GIF", "WEBP", "PNG", "AVIF")
_MOST_FRAMES_OF_FULL_SIZE = 16


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One picture of an animation and how many milliseconds it stays."""

    picture: Picture
    duration: float


@dataclass(frozen=True, kw_only=True)
class Animation:
    """An open animation.

    Attributes:
        count: how many frames there are; 1 for a picture that doesn't move.
        loop: how often it plays; 0 is for ever.
        frames: each frame as the viewer sees it, whole; can be walked once, while the file is open.
    """

    count: int
    loop: int
    frames: Iterator[Frame]


@contextmanager
def open_animation(source: Path | BinaryIO, *, max_pixels: int = MAX_PIXELS) -> Iterator[Animation]:
    """Open a GIF, WebP, PNG or AVIF file to read its frames one by one, at 8 bits.

    A picture that doesn't move is an animation of one frame, at its own depth.

    Args:
        max_pixels: the most pixels of one frame; all together may have 16 times as many.

    Raises:
        ImageError: as of `read`; also from the iteration over the frames.
    """
    with opened(source, max_pixels) as (file, name):
        with damage_named(name):
            image = open_by_pillow(file, max_pixels)
            count = int(getattr(image, "n_frames", 1)) if image.format in ANIMATED_FORMATS else 1
            if count == 1:
                still = Frame(picture=finished(decoded(file, max_pixels)), duration=0)
                animation = Animation(count=1, loop=0, frames=iter([still]))
            else:
                animation = _animation(image, name, count, max_pixels)
        yield animation


def write_animation(
    frames: Iterable[Frame],
    path: Path,
    *,
    loop: int,
    format: str | None = None,
    quality: int | None = None,
    overwrite: bool = True,
) -> None:
    """Write the frames as GIF, WebP, AVIF or animated PNG, at 8 bits; the file appears whole or not at all.

    Args:
        frames: all of one size; taken one by one, but kept by the encoder until the last.
        loop: how often it plays; 0 is for ever.

    Raises:
        ImageError: no frames, a format without animation, or frames too large for it.
        OutputError: the file cannot be written.
    """
    format = format or format_of(path)
    if format not in ANIMATED_FORMATS:
        raise ImageError(f"{path}: {format} holds no animation; those that do are {', '.join(ANIMATED_FORMATS)}")
    waiting = iter(frames)
    first = next(waiting, None)
    if first is None:
        raise ImageError(f"{path}: an animation without frames")
    check_side(format, first.picture.width, first.picture.height)
    options = pillow_options(first.picture, format, quality or FORMATS[format].quality)
    durations = [round(first.duration)]

    def rest() -> Iterator[Image.Image]:
        # Pillow asks for a frame before it looks up the duration, so the list may grow as it goes.
        for frame in waiting:
            durations.append(round(frame.duration))
            yield pillow_image(frame.picture, format)

    if format == "GIF":
        options["disposal"] = 2  # each frame is whole, so the one before must not show through
    if not (format == "GIF" and loop == 1):
        options["loop"] = loop
    with atomic_write(path, overwrite=overwrite) as file:
        image = pillow_image(first.picture, format)
        others = rest() if format == "GIF" else list(rest())  # only the GIF encoder asks for them once
        image.save(file, format, save_all=True, append_images=others, duration=durations, **options)


def _animation(image: Image.Image, name: str, count: int, max_pixels: int) -> Animation:
    if count * image.width * image.height > _MOST_FRAMES_OF_FULL_SIZE * max_pixels:
        raise Unfit(f"has {count} frames of {image.width} × {image.height} pixels, which is over the limit")
    # The still picture that an animated PNG shows where it cannot move is not one of its frames.
    first = int(getattr(image, "default_image", False))
    loop = image.info.get("loop", 1 if image.format == "GIF" else 0)
    return Animation(count=count - first, loop=loop, frames=_frames(image, name, range(first, count)))


def _frames(image: Image.Image, name: str, indices: range) -> Iterator[Frame]:
    for index in indices:
        with damage_named(name):
            image.seek(index)
            picture = finished(decoded_by_pillow(loaded(image)))
            frame = Frame(picture=picture, duration=float(image.info.get("duration") or 0))
        yield frame
