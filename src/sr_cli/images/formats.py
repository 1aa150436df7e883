"""What each file format is called, can hold, and loses."""

from dataclasses import dataclass
from pathlib import Path

from sr_cli.errors import ImageError
from sr_cli.images.picture import Picture


@dataclass(frozen=True, kw_only=True)
class Format:
    """What files of one format can hold.

    Attributes:
        suffixes: in lower case with the dot; the first is the usual one.
        longest_side: in pixels.
        holds: what survives in it, out of ``alpha``, ``16 bit``, ``ICC profile``, ``EXIF``, ``XMP``, ``resolution``.
        quality: the default where it compresses with loss.
    """

    suffixes: tuple[str, ...]
    longest_side: int
    holds: frozenset[str]
    quality: int | None = None


_METADATA = frozenset({"ICC profile", "EXIF", "XMP"})

FORMATS = {
    "PNG": Format(
        suffixes=(".png", ".apng"),
        longest_side=2**31 - 1,
        holds=_METADATA | {"alpha", "16 bit", "resolution"},
    ),
    "JPEG": Format(
        suffixes=(".jpg", ".jpeg", ".jpe", ".jfif"),
        longest_side=65_500,
        holds=_METADATA | {"resolution"},
        quality=95,
    ),
    "WEBP": Format(suffixes=(".webp",), longest_side=16_383, holds=_METADATA | {"alpha"}, quality=95),
    "TIFF": Format(
        suffixes=(".tif", ".tiff"),
        longest_side=2**31 - 1,
        holds=_METADATA | {"alpha", "16 bit", "resolution"},
    ),
    "BMP": Format(suffixes=(".bmp", ".dib"), longest_side=2**31 - 1, holds=frozenset({"alpha", "resolution"})),
    "AVIF": Format(suffixes=(".avif",), longest_side=32_768, holds=_METADATA | {"alpha"}, quality=90),
    "GIF": Format(suffixes=(".gif",), longest_side=65_535, holds=frozenset({"alpha"})),
    "HEIF": Format(
        suffixes=(".heic", ".heif", ".hif"), longest_side=16_384, holds=_METADATA | {"alpha"}, quality=90
    ),
}  # fmt: skip
"""By the name that Pillow gives them."""

SUFFIXES = {suffix: name for name, format in FORMATS.items() for suffix in format.suffixes}


def format_of(path: Path) -> str:
    """The format that the suffix of ``path`` stands for.

    Raises:
        ImageError: none does.
    """
    try:
        return SUFFIXES[path.suffix.lower()]
    except KeyError:
        known = " ".join(format.suffixes[0] for format in FORMATS.values())
        raise ImageError(f"{path}: the suffix {path.suffix!r} names no image format; known are {known}") from None


def check_side(format: str, width: int, height: int) -> None:
    """Refuse a size that ``format`` cannot store; worth a call before the pixels are computed.

    Raises:
        ImageError: a side is too long.
    """
    longest = FORMATS[format].longest_side
    if max(width, height) > longest:
        raise ImageError(
            f"{width} × {height} pixels don't fit into a {format} file, whose sides end at {longest}; "
            "write PNG or TIFF instead"
        )


def losses(picture: Picture, format: str) -> list[str]:
    """What ``picture`` has that a file of ``format`` cannot hold, for a warning: ``["alpha", "EXIF"]``."""
    metadata = picture.metadata
    has = {
        "alpha": picture.alpha is not None,
        "16 bit": picture.bits == 16,
        "ICC profile": metadata.icc is not None,
        "EXIF": metadata.exif is not None,
        "XMP": metadata.xmp is not None,
    }
    # A JPEG segment ends at 64 KB; a profile may take several.
    too_long = {
        "EXIF": format == "JPEG" and len(metadata.exif or b"") > 65_000,
        "XMP": format == "JPEG" and len(metadata.xmp or b"") > 65_000,
    }
    lost = [what for what, there in has.items() if there and (what not in FORMATS[format].holds or too_long.get(what))]
    if format == "GIF" and picture.format != "GIF":
        lost += ["all but 256 colors"] + ["partial transparency"] * (picture.alpha is not None)
    return lost
