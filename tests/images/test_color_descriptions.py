"""A patch of known color, described in each way that there is, comes out the same from each format into each format.

The files are made by other libraries, and the results are read by others: libvips, djxl where it is installed, else
Pillow and Little CMS, and the code points of CICP from the bytes.
"""

import io
import shutil
import struct
import subprocess
import zlib
from dataclasses import replace
from functools import cache
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image, ImageCms
from PIL.ExifTags import IFD

from sr_cli import images
from sr_cli.images.codecs import isobmff
from sr_cli.images.formats import holds_10_bit
from sr_cli.images.reading import is_heif_available
from support.pictures import XMP, exif, exif_of, gray_profile, rgb_profile

pyvips = pytest.importorskip("pyvips", reason="libvips is not installed: pip install pyvips[binary]")

SUFFIXES = {name: format.suffixes[0] for name, format in images.FORMATS.items()}
SIDE = 48
PATCH, PQ_PATCH, GRAY = (206, 58, 82), (124, 98, 109), 90
"""Whole numbers in YCbCr, too, so that lossy formats keep them."""
P3_TO_SRGB = np.array([[1.22494, -0.22494, 0], [-0.04206, 1.04206, 0], [-0.01964, -0.07864, 1.09827]])
ADOBE_TO_SRGB = np.array([[1.39836, -0.39836, 0], [0, 1, 0], [0, -0.04293, 1.04293]])
BT2020_TO_SRGB = np.array([[1.66049, -0.58764, -0.07285], [-0.12455, 1.1329, -0.00835], [-0.01815, -0.10058, 1.11873]])


def to_srgb(linear: np.ndarray) -> np.ndarray:
    light = np.clip(linear, 0, 1)
    return 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def from_srgb(values: np.ndarray) -> np.ndarray:
    values = np.asarray(values) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def from_pq(values: np.ndarray) -> np.ndarray:
    power = (np.asarray(values) / 255) ** (1 / 78.84375)
    return 10_000 / 203 * (np.maximum(power - 0.8359375, 0) / (18.8515625 - 18.6875 * power)) ** (1 / 0.1593017578125)


EXPECTED = {
    "nothing": np.array(PATCH),
    "profile": to_srgb(P3_TO_SRGB @ (np.array(PATCH) / 255) ** 2.19921875),
    "gray profile": to_srgb(np.repeat((GRAY / 255) ** 1.8, 3)),
    "CICP": to_srgb(P3_TO_SRGB @ from_srgb(np.array(PATCH))),
    "EXIF": to_srgb(ADOBE_TO_SRGB @ (np.array(PATCH) / 255) ** 2.19921875),
    "gAMA and cHRM": to_srgb(P3_TO_SRGB @ (np.array(PATCH) / 255)),
    "PQ": to_srgb(BT2020_TO_SRGB @ from_pq(np.array(PQ_PATCH))),
}


def pillow(color, format: str, *, mode: str = "RGB", **options) -> bytes:
    file = io.BytesIO()
    lossless = {"WEBP": {"lossless": True}, "JPEG": {"quality": 100, "subsampling": 0}}.get(format, {"quality": 100})
    Image.new(mode, (SIDE, SIDE), color).save(file, format, **(lossless if format != "TIFF" else {}), **options)
    return file.getvalue()


def png(color, **chunks: bytes) -> bytes:
    plain = pillow(color, "PNG")
    packed = b"".join(
        struct.pack(">I", len(body)) + kind.encode() + body + struct.pack(">I", zlib.crc32(kind.encode() + body))
        for kind, body in chunks.items()
    )
    return plain[:33] + packed + plain[33:]  # behind the header


@cache
def sources(kind: str) -> dict[str, bytes]:
    """Files by format that describe their color in this way."""
    pillows = [name for name in images.FORMATS if name not in ("JPEGXL",) and (name != "HEIF" or is_heif_available())]
    pixels = np.full((SIDE, SIDE, 3), PATCH, np.uint8)
    if kind == "nothing":
        made = {name: pillow(PATCH, name) for name in pillows}
        return made | {"JPEGXL": imagecodecs.jpegxl_encode(pixels, lossless=True)}
    if kind == "profile":
        made = {name: pillow(PATCH, name, icc_profile=rgb_profile()) for name in pillows if name not in ("BMP", "GIF")}
        return made | {"JPEGXL": imagecodecs.jpegxl_encode_jpeg(made["JPEG"])}
    if kind == "EXIF":
        tags = Image.Exif()
        tags.get_ifd(IFD.Exif)[0xA001] = 0xFFFF
        tags.get_ifd(IFD.Exif)[0xA005] = {1: "R03"}
        tiff, about = io.BytesIO(), images.Metadata(exif=tags.tobytes().removeprefix(b"Exif\0\0"))
        images.write(images.Picture(color=pixels, metadata=about), tiff, format="TIFF")  # Pillow loses the rule
        return {"TIFF": tiff.getvalue()} | {name: pillow(PATCH, name, exif=tags) for name in ("JPEG", "WEBP")}
    if kind == "gray profile":
        made = {each: pillow(GRAY, each, mode="L", icc_profile=gray_profile()) for each in ("PNG", "JPEG", "TIFF")}
        return made | {"JPEGXL": imagecodecs.jpegxl_encode_jpeg(made["JPEG"])}
    if kind == "gAMA and cHRM":
        corners = (31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)
        return {"PNG": png(PATCH, gAMA=struct.pack(">I", 100_000), cHRM=struct.pack(">8I", *corners))}
    color, primaries, transfer = (PATCH, 12, 13) if kind == "CICP" else (PQ_PATCH, 9, 16)
    pixels[:] = color
    code_points = {"primaries": primaries, "transfer": transfer, "matrix": 6, "pixelformat": "444"}
    made = {
        "PNG": png(color, cICP=bytes((primaries, transfer, 0, 1))),
        "AVIF": imagecodecs.avif_encode(pixels, level=100, **code_points),
    }
    if is_heif_available():
        options = {"color_primaries": primaries, "transfer_characteristics": transfer, "matrix_coefficients": 6}
        made["HEIF"] = pillow(color, "HEIF", full_range_flag=1, chroma=444, **options)
    if kind == "CICP":  # what is linear is said by a number, too
        light = np.broadcast_to(from_srgb(EXPECTED["CICP"]), pixels.shape).astype(np.float32)
        made["JPEGXL"] = imagecodecs.jpegxl_encode(np.ascontiguousarray(light), lossless=True)
    return made


def shown(path: Path, format: str) -> np.ndarray:
    """The patch in sRGB, as another program reads it."""
    content = path.read_bytes()
    if format == "JPEGXL" and shutil.which("djxl"):
        subprocess.run(["djxl", path, path.with_suffix(".png")], check=True, capture_output=True)
        return shown(path.with_suffix(".png"), "PNG")
    if format == "JPEGXL" and imagecodecs.jpegxl_decode(content).dtype == np.uint16:  # linear light, as in its source
        return to_srgb(imagecodecs.jpegxl_decode(content)[SIDE // 2, SIDE // 2] / 65535)
    if format in ("BMP", "HEIF", "JPEGXL"):
        image = Image.fromarray(imagecodecs.jpegxl_decode(content)) if format == "JPEGXL" else Image.open(path)
        icc = images.read(path).metadata.icc if format == "JPEGXL" else image.info.get("icc_profile")
        if icc:
            image = ImageCms.profileToProfile(image, io.BytesIO(icc), ImageCms.createProfile("sRGB"), outputMode="RGB")
        value = np.asarray(image.convert("RGB"))[SIDE // 2, SIDE // 2]
    else:
        image = pyvips.Image.new_from_file(str(path))
        if "icc-profile-data" in image.get_fields():
            image = image.icc_transform("srgb", embedded=True, intent="relative", black_point_compensation=True)
        value = np.array(image.colourspace("srgb").getpoint(SIDE // 2, SIDE // 2))[:3]
    at = content.find(b"nclx") if format in ("AVIF", "HEIF") else content.find(b"cICP")
    if at < 0 or (format == "PNG" and b"iCCP" in content):
        return value
    cicp = struct.unpack_from(">HH", content, at + 4) if format in ("AVIF", "HEIF") else tuple(content[at + 4 : at + 6])
    if cicp == (12, 13):
        return to_srgb(P3_TO_SRGB @ from_srgb(value))
    return to_srgb(BT2020_TO_SRGB @ from_pq(value)) if cicp == (9, 16) else value


@pytest.mark.parametrize("kind", EXPECTED)
@pytest.mark.parametrize("format", images.FORMATS)
@pytest.mark.slow
def test_a_patch_keeps_its_color(tmp_path, format, kind):
    if format == "HEIF" and not is_heif_available():
        pytest.skip("pillow-heif is not installed")
    if kind == "PQ" and format == "JPEGXL":
        pytest.skip("no other program here says what it makes of it")
    differences, wrong = [], {}
    for source, content in sources(kind).items():
        picture = images.read(io.BytesIO(content))
        if kind == "CICP" and {"16 bit", "more than 10 bit"} & set(images.losses(picture, format)):
            continue  # linear light: a step of 8 bits is larger than 2 levels of sRGB
        color = images.to_tensor(picture)[0].permute(1, 2, 0).numpy()  # what a network sees, and gives back
        path = tmp_path / f"from-{source}{SUFFIXES[format]}"
        images.write(replace(picture, color=images.encode_color(picture, color)), path, format=format, quality=100)
        difference = np.abs(np.asarray(shown(path, format), float) - EXPECTED[kind]).max()
        differences.append(difference)
        if difference > 2:
            wrong[source] = (shown(path, format), EXPECTED[kind])
    print(f"{kind} to {format}: {len(differences)} sources, at most {max(differences, default=0):.2f} levels")
    assert not wrong


@pytest.mark.parametrize("kind", EXPECTED)
def test_training_sees_srgb(tmp_path, kind):
    for source, content in sources(kind).items():
        path = tmp_path / f"patch{SUFFIXES[source]}"
        path.write_bytes(content)
        assert np.abs(images.read_rgb(path)[SIDE // 2, SIDE // 2] - EXPECTED[kind]).max() <= 2, source


def test_what_is_lost_of_hdr_and_of_depth_is_said():
    deep = np.full((SIDE, SIDE, 3), 594, np.uint16)
    content = imagecodecs.avif_encode(deep, bitspersample=10, primaries=9, transfer=16, matrix=9, level=100)
    picture = images.read(io.BytesIO(content))
    assert (picture.color == round(594 * 65535 / 1023)).all() and picture.metadata.is_hdr
    assert images.losses(picture, "AVIF") == images.losses(picture, "PNG") == []
    assert images.losses(replace(picture, color=picture.color + 1), "AVIF") == ["more than 10 bit"]
    assert "16 bit" in images.losses(picture, "WEBP")
    assert images.losses(picture, "TIFF") == ["HDR (what is brighter than diffuse white becomes white)"]
    assert picture.without_metadata().metadata.cicp == (9, 16)


def test_code_points_go_from_avif_to_avif_and_png_as_they_are(tmp_path):
    for source in ("AVIF", "PNG"):
        picture = images.read(io.BytesIO(sources("CICP")[source]))
        images.write(picture, tmp_path / "patch.avif")
        images.write(picture, tmp_path / "patch.png")
        assert b"colrnclx\0\x0c\0\r" in (tmp_path / "patch.avif").read_bytes()
        assert b"cICP\x0c\r\0\1" in (tmp_path / "patch.png").read_bytes()


@pytest.mark.parametrize("mode", ["I;16", "RGB;16", "RGBA;16"])
def test_heif_of_10_bits_is_read_at_16(mode):
    pillow_heif = pytest.importorskip("pillow_heif")
    channels = {"I;16": 1, "RGB;16": 3, "RGBA;16": 4}[mode]
    stored = np.full((SIDE, SIDE, channels), 1023 << 6, np.uint16)
    stored[:, SIDE // 2 :] = 300 << 6
    file = io.BytesIO()
    pillow_heif.from_bytes(mode, (SIDE, SIDE), stored.tobytes()).save(file, quality=-1, chroma=444)
    picture = images.read(file)
    assert (picture.is_gray, picture.alpha is not None) == (channels == 1, channels == 4)
    for column, value in ((5, 65535), (SIDE - 5, round(300 * 65535 / 1023))):
        assert np.abs(picture.color[SIDE // 2, column].astype(int) - value).max() <= 65


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("format", ["AVIF", "HEIF"])
def test_16_bits_are_written_with_10(tmp_path, format, channels):
    """A ramp, by FFmpeg's decoders: closer than a half step of 8 bits."""
    av = pytest.importorskip("av")
    if format == "HEIF" and not is_heif_available():
        pytest.skip("pillow-heif is not installed")
    if not holds_10_bit(format):
        pytest.skip("this imagecodecs cannot write 10 bits")
    ramp = np.broadcast_to(np.linspace(0, 65535, 96).astype(np.uint16), (64, 96))
    color = np.repeat(ramp[..., None], 1 if channels < 3 else 3, axis=2)
    about = images.Metadata(icc=rgb_profile() if channels > 2 else None, exif=exif(1), xmp=XMP)
    alpha = ramp[:, ::-1].copy() if channels % 2 == 0 else None
    path = tmp_path / f"ramp{SUFFIXES[format]}"
    images.write(images.Picture(color=color, alpha=alpha, metadata=about), path, quality=100)
    with av.open(str(path)) as file:
        frame = next(file.decode(video=0))
    assert "10" in frame.format.name
    assert np.abs(frame.to_ndarray(format="gray16le").astype(int) - ramp).max() < 128
    picture = images.read(path)
    assert np.abs(picture.color.astype(int) - color).max() < 128
    assert alpha is None or np.abs(picture.alpha.astype(int) - alpha).max() < 128
    assert picture.metadata.icc == about.icc and picture.is_gray == (channels == 1)
    assert exif_of(picture.metadata.exif)[0x0110] == "Heron 1" and b"A heron" in picture.metadata.xmp


@pytest.mark.parametrize("fault", ["layout", "arguments"])
def test_16_bits_to_avif_become_8_where_libraries_know_no_better(tmp_path, monkeypatch, fault):
    """As the imagecodecs of Python 3.10, which takes no description of colors, and as a libavif of another layout."""
    isobmff.is_10_bit_avif_possible.cache_clear()
    encode = imagecodecs.avif_encode

    def encode_otherwise(pixels: object, *, level: int, speed: int, bitspersample: int, **others: object) -> bytes:
        if fault == "arguments":
            raise TypeError(others)
        content = encode(pixels, level=level, speed=speed, bitspersample=bitspersample, **others)
        assert b"iloc\0\0\0\0\x44\0" in content
        return content.replace(b"iloc\0\0\0\0\x44\0", b"iloc\1\0\0\0\x88\0")

    monkeypatch.setattr(imagecodecs, "avif_encode", encode_otherwise)
    picture = images.Picture(color=np.full((20, 30, 3), 30_000, np.uint16))
    try:
        assert "16 bit" in images.losses(picture, "AVIF")
        images.write(picture, tmp_path / "a.avif")
    finally:
        isobmff.is_10_bit_avif_possible.cache_clear()
    written = images.read(tmp_path / "a.avif")
    assert written.bits == 8 and np.abs(written.color.astype(int) - 30_000 // 257).max() <= 2
