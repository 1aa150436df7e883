"""The image formats: how their files are recognized, read and written, and what they hold."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image

from sr_cli.errors import ImageError
from sr_cli.images.codecs import jpeg_xl, png_read, tiff_tags
from sr_cli.images.codecs.isobmff import is_10_bit_avif_possible
from sr_cli.images.codecs.png_write import write_png
from sr_cli.images.codecs.tiff_write import write_tiff
from sr_cli.images.icc import in_srgb
from sr_cli.images.picture import Decoded, Header, Metadata, Picture, rescale


@dataclass(frozen=True, kw_only=True)
class Format:
    """One image format. What isn't said here is left to Pillow.

    Attributes:
        suffixes: in lower case with the dot, the usual one first.
        longest_side: in pixels.
        holds: what it can store, out of ``alpha``, ``16 bit``, ``10 bit``, ``ICC profile``, ``CICP``, ``EXIF``,
            ``XMP``, ``resolution``, and ``gray profile`` if gray pictures are not made RGB, which needs other profiles.
        max_metadata: the most bytes of EXIF, and of XMP.
        exif_prefix: what stands before EXIF data in the file.
        takes_exif: whether EXIF is sound enough for this format; ``None`` if its bytes are written as they are.
        palette: whether it is limited to 256 colors and to pixels that are either opaque or transparent.
        still: the format to write a still picture of this format in.
        quality: the default where compression is lossy.
        save_options: arguments of Pillow's ``save`` for a quality.
        signatures: the first bytes of files that ``decoder`` reads.
        decoder: reads an open file at its full depth, where Pillow would reduce it to 8 bits.
        header_reader: reads an open file's header, where Pillow would not know it.
        encoder: called with an open file, a picture, and ``quality=``; for formats that Pillow doesn't know at all.
        strip_encoder: called with an open file and strips of `band_rows` rows, ``(h, W, C)``; ``size=`` is the output's
            width and height, ``like=`` a picture with its channels, dtype and metadata.
    """

    suffixes: tuple[str, ...]
    holds: frozenset[str]
    longest_side: int = 2**31 - 1
    max_metadata: int | None = None
    exif_prefix: bytes = b""
    takes_exif: Callable[[bytes], bool] | None = None
    palette: bool = False
    animated: bool = False
    still: str | None = None
    quality: int | None = None
    save_options: Callable[[int], dict[str, Any]] = lambda quality: {"quality": quality}
    signatures: tuple[bytes, ...] = ()
    decoder: Callable[..., Decoded] | None = None
    header_reader: Callable[[BinaryIO], Header] | None = None
    encoder: Callable[..., None] | None = None
    strip_encoder: Callable[..., None] | None = None


def _read_tiff(file: BinaryIO, *, max_pixels: int) -> Decoded:
    from sr_cli.images.codecs.tiff_read import read_tiff  # tifffile is slow to import, and TIFF files are rare

    return read_tiff(file, max_pixels=max_pixels)


def _read_tiff_header(file: BinaryIO) -> Header:
    from sr_cli.images.codecs.tiff_read import read_header

    return read_header(file)


_FIELDS = {"ICC profile": "icc", "EXIF": "exif", "XMP": "xmp", "resolution": "dpi"}  # of `Metadata`
_METADATA = frozenset({"ICC profile", "gray profile", "EXIF", "XMP"})


@lru_cache(maxsize=8)
def _is_sound(exif: bytes) -> bool:
    """Whether Pillow can take EXIF apart and put it together again."""
    try:
        parsed = Image.Exif()
        parsed.load(exif)
        parsed.tobytes()
    except Exception:  # a wrong type raises TypeError, struct.error, AttributeError …
        return False
    return True


FORMATS = {
    "PNG": Format(
        suffixes=(".png", ".apng"),
        holds=_METADATA | {"alpha", "16 bit", "CICP", "resolution"},
        animated=True,
        signatures=(png_read.SIGNATURE,),
        decoder=png_read.read_png,
        strip_encoder=write_png,
    ),
    "JPEG": Format(
        suffixes=(".jpg", ".jpeg", ".jpe", ".jfif"),
        longest_side=65_500,
        holds=_METADATA | {"resolution"},
        max_metadata=65_000,  # a segment ends at 64 KB; an ICC profile may take several
        exif_prefix=b"Exif\0\0",
        quality=95,
        save_options=lambda quality: {"quality": quality, "subsampling": "4:4:4" if quality >= 90 else "4:2:0"},
    ),
    "WEBP": Format(
        suffixes=(".webp",),
        longest_side=16_383,
        holds=_METADATA - {"gray profile"} | {"alpha"},
        animated=True,
        quality=95,
        save_options=lambda quality: {"lossless": True} if quality == 100 else {"quality": quality},
    ),
    "TIFF": Format(
        suffixes=(".tif", ".tiff"),
        holds=_METADATA | {"alpha", "16 bit", "resolution"},
        signatures=tiff_tags.SIGNATURES,
        decoder=_read_tiff,
        header_reader=_read_tiff_header,
        takes_exif=tiff_tags.is_readable_as_tags,
        strip_encoder=write_tiff,
    ),
    "BMP": Format(suffixes=(".bmp", ".dib"), holds=frozenset({"resolution"})),
    "AVIF": Format(
        suffixes=(".avif",),
        longest_side=32_768,
        takes_exif=_is_sound,
        holds=_METADATA - {"gray profile"} | {"alpha", "10 bit", "CICP"},  # Pillow before 12 makes gray RGB
        animated=True,
        quality=90,
        # Speed 8 of 10: Pillow's default, 6, takes more than twice as long for files 1 % smaller.
        save_options=lambda quality: {"quality": quality, "speed": 8},
    ),
    "GIF": Format(
        suffixes=(".gif",), longest_side=65_535, holds=frozenset({"alpha"}), palette=True, animated=True, still="PNG"
    ),
    "HEIF": Format(
        suffixes=(".heic", ".heif", ".hif"),
        longest_side=16_384,
        holds=_METADATA | {"alpha", "10 bit", "CICP"},
        quality=90,
    ),
    "JPEGXL": Format(
        suffixes=(".jxl",),
        longest_side=1 << 30,
        holds=_METADATA | {"alpha", "16 bit", "CICP"},
        quality=90,
        signatures=jpeg_xl.SIGNATURES,
        decoder=jpeg_xl.read_jpeg_xl,
        header_reader=jpeg_xl.read_header,
        encoder=jpeg_xl.write_jpeg_xl,
    ),
}
"""By Pillow's name for the format. A new format is a row here, and a codec where Pillow's doesn't serve."""

SUFFIXES = {suffix: name for name, format in FORMATS.items() for suffix in format.suffixes}
ANIMATED_FORMATS = tuple(name for name, format in FORMATS.items() if format.animated)


def format_of_suffix(target: Path | BinaryIO) -> str:
    """The format that the suffix of a file stands for, or an `ImageError` if there is none."""
    path = target if isinstance(target, Path) else Path(str(getattr(target, "name", "")))
    try:
        return SUFFIXES[path.suffix.lower()]
    except KeyError:
        known = " ".join(format.suffixes[0] for format in FORMATS.values())
        raise ImageError(f"{path}: unknown image format {path.suffix!r}; choose from {known}") from None


def check_side(format: str, width: int, height: int) -> None:
    """Refuse, by an `ImageError`, a size that ``format`` cannot store; meant to be called before it is computed."""
    longest = FORMATS[format].longest_side
    if max(width, height) > longest:
        raise ImageError(
            f"{width} × {height} pixels don't fit into a {format} file, whose sides end at {longest}; "
            "write PNG or TIFF instead"
        )


def holds_10_bit(format: str) -> bool:
    """Whether the libraries that are installed write ``format`` with 10 bits."""
    return "10 bit" in FORMATS[format].holds and (format != "AVIF" or is_10_bit_avif_possible())


def storable_metadata(metadata: Metadata, format: str) -> Metadata:
    """``metadata`` without what a file of ``format`` cannot hold."""
    target = FORMATS[format]
    limit = target.max_metadata
    stored = {field: getattr(metadata, field) for name, field in _FIELDS.items() if name in target.holds}
    for field in ("exif", "xmp"):
        if limit is not None and len(stored.get(field) or b"") > limit:
            del stored[field]
    if target.takes_exif and (exif := stored.get("exif")) and not target.takes_exif(exif):
        del stored["exif"]
    cicp = metadata.cicp if "CICP" in target.holds else None
    return Metadata(**stored, cicp=cicp, png_chunks=metadata.png_chunks)


def in_describable_colors(picture: Picture, format: str) -> Picture:
    """The picture as it is, or in sRGB where a file of ``format`` could not say what its values mean."""
    holds, metadata = FORMATS[format].holds, picture.metadata
    profile = "gray profile" if picture.is_gray else "ICC profile"
    is_describable = "CICP" in holds if metadata.is_hdr else metadata.icc is None or profile in holds
    return picture if is_describable else in_srgb(picture)


def losses(picture: Picture, format: str) -> list[str]:
    """What ``picture`` has that a file of ``format`` cannot hold, for a warning: ``["alpha", "EXIF"]``."""
    target = FORMATS[format]
    lost = ["alpha"] if picture.alpha is not None and "alpha" not in target.holds else []
    if picture.bits == 16 and "16 bit" not in target.holds:
        if not holds_10_bit(format):
            lost.append("16 bit")
        elif (rescale(rescale(picture.color, 65535, 1023), 1023, 65535) != picture.color).any():
            lost.append("more than 10 bit")
    if picture.metadata.is_hdr and "CICP" not in target.holds:
        lost.append("HDR (what is brighter than diffuse white becomes white)")
    stored = storable_metadata(picture.metadata, format)
    for name, field in _FIELDS.items():
        if name != "resolution" and getattr(picture.metadata, field) != getattr(stored, field):
            lost.append(f"damaged {name}" if name == "EXIF" and target.takes_exif else name)
    if target.palette and picture.format != format:
        lost += ["more than 256 colors"] + ["partial transparency"] * (picture.alpha is not None)
    return lost
