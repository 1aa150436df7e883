"""Profile, EXIF, XMP and resolution survive in every format that holds them, and describe the output correctly."""

import io
import struct
import time
from dataclasses import replace
from xml.etree import ElementTree

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.ExifTags import IFD

from sr_cli import images
from sr_cli.images.exif_xmp import companions, fit_to_size, make_upright, with_history
from support.pictures import XMP, exif, exif_of, gradient, rgb_profile

HOLDERS = ("PNG", "JPEG", "WEBP", "TIFF", "AVIF")


def file_of(format: str, **metadata) -> io.BytesIO:
    file = io.BytesIO()
    Image.fromarray(gradient()).save(file, format, **metadata)
    file.seek(0)
    return file


def through(picture: images.Picture, format: str, *, scale: int = 1) -> images.Picture:
    """The picture enlarged, written, and read again."""
    large = replace(picture, color=picture.color.repeat(scale, 0).repeat(scale, 1))
    file = io.BytesIO()
    images.write(large, file, format=format)
    return images.read(file)


@pytest.mark.parametrize("out", HOLDERS)
@pytest.mark.parametrize("into", HOLDERS)
def test_metadata_goes_from_any_format_to_any(into, out):
    icc = rgb_profile("adobe-rgb")
    tags = b"Exif\0\0" + exif(1)
    if into == "TIFF":
        all_tags = exif_of(exif(1))
        all_tags[0x02BC] = XMP
        options = {"exif": all_tags}
    else:
        options = {"exif": tags, ("pnginfo" if into == "PNG" else "xmp"): _png_text() if into == "PNG" else XMP}
    picture = through(images.read(file_of(into, icc_profile=icc, **options)), out, scale=2)
    assert picture.metadata.icc == icc
    assert picture.metadata.xmp is not None and b"A heron" in picture.metadata.xmp
    assert b'tiff:ImageWidth="80"' in picture.metadata.xmp and b">60</tiff:ImageLength>" in picture.metadata.xmp
    described = exif_of(picture.metadata.exif)
    assert described[0x0110] == "Heron 1"
    details = described.get_ifd(0x8769)
    assert float(details[0x829A]) == 1 / 250
    assert (details[0xA002], details[0xA003]) == (80, 60)
    assert described.get_ifd(0x8825)[2] == (52.0, 31.0, 12.0)


def _png_text():
    from PIL.PngImagePlugin import PngInfo

    text = PngInfo()
    text.add_itxt("XML:com.adobe.xmp", XMP.decode(), zip=True)
    return text


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF", "AVIF"])
def test_other_software_reads_what_is_written(format):
    metadata = images.Metadata(icc=rgb_profile(), exif=exif(1), xmp=XMP, dpi=(300, 200))
    file = io.BytesIO()
    images.write(images.Picture(color=gradient(), metadata=metadata), file, format=format)
    image = Image.open(file)
    assert image.info["icc_profile"] == rgb_profile()
    assert image.getexif()[0x0110] == "Heron 1"
    assert image.info["xmp"] == XMP.replace(b'Orientation="6"', b'Orientation="1"')
    if "resolution" in images.FORMATS[format].holds:
        assert np.allclose([float(x) for x in image.info["dpi"]], (300, 200), atol=0.02)


def test_tifffile_reads_what_is_written():
    metadata = images.Metadata(icc=rgb_profile(), exif=exif(1), xmp=XMP, dpi=(300, 200))
    file = io.BytesIO()
    images.write(images.Picture(color=gradient(dtype=np.uint16), metadata=metadata), file, format="TIFF")
    file.seek(0)
    with tifffile.TiffFile(file) as tiff:
        tags = tiff.pages.first.tags
        assert tags.valueof("InterColorProfile") == rgb_profile()
        assert tags.valueof("ExifTag")["ExposureTime"] == (1, 250)
        assert tags.valueof("ExifTag")["MakerNote"] == b"maker note \0\1\2"
        assert tags.valueof("GPSTag")["GPSLatitude"] == (52, 1, 31, 1, 12, 1)
        assert tags.valueof("XMP") == XMP.replace(b'Orientation="6"', b'Orientation="1"')
        assert tags.valueof("Model") == "Heron 1"


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_orientation_is_applied_once(format, orientation):
    first = images.read(file_of(format, exif=b"Exif\0\0" + exif(orientation)))
    second = through(first, "PNG")
    np.testing.assert_array_equal(second.color, first.color)
    assert exif_of(second.metadata.exif).get(0x0112, 1) == 1


def test_orientation_in_xmp_follows():
    picture = through(images.read(file_of("JPEG", exif=b"Exif\0\0" + exif(6), xmp=XMP)), "PNG")
    assert picture.metadata.xmp is not None and b'tiff:Orientation="1"' in picture.metadata.xmp


def test_resolution_turns_with_the_picture():
    picture = images.read(file_of("JPEG", exif=b"Exif\0\0" + exif(6), dpi=(300, 200)))
    assert picture.metadata.dpi == (200, 300)


def test_no_resolution_is_made_up():
    for format in ("JPEG", "PNG", "WEBP", "GIF"):
        assert images.read(file_of(format, exif=b"Exif\0\0" + exif(1))).metadata.dpi is None


def test_the_thumbnail_is_gone_and_nothing_else_moves():
    before = exif(6)
    assert b"\xff\xd8\xff" in before and exif_of(before).get_ifd(IFD.IFD1)
    metadata, orientation = make_upright(images.Metadata(exif=before))
    after = metadata.exif
    assert orientation == 6 and after is not None
    assert b"\xff\xd8\xff" not in after and not exif_of(after).get_ifd(IFD.IFD1)
    assert after.index(b"maker note") == before.index(b"maker note")
    assert exif_of(after)[0x0112] == 1


def test_dimensions_that_need_more_than_16_bits():
    changed = exif_of(fit_to_size(images.Metadata(exif=exif(1)), 100_000, 70_000).exif)
    assert (changed[0x0100], changed[0x0101]) == (100_000, 70_000)
    assert changed.get_ifd(0x8769)[0xA002] == 100_000


@pytest.mark.parametrize("unit", ["inch", "centimeter"])
@pytest.mark.parametrize("out", ["TIFF", "PNG", "JPEG", "BMP"])
def test_resolution_is_kept(unit, out):
    file = io.BytesIO()
    tifffile.imwrite(file, gradient(), photometric="rgb", resolution=(300, 150), resolutionunit=unit)
    scale = 2.54 if unit == "centimeter" else 1
    picture = through(images.read(file), out)
    assert picture.metadata.dpi is not None
    np.testing.assert_allclose(picture.metadata.dpi, (300 * scale, 150 * scale), rtol=2e-3)


def test_png_text_is_kept_and_stripped():
    file = io.BytesIO(imagecodecs.png_encode(gradient()))
    text = b"parameters\0a heron, watercolor"
    chunk = struct.pack(">I", len(text)) + b"tEXt" + text + bytes(4)
    gamma = struct.pack(">I4sI", 4, b"gAMA", 45455) + bytes(4)
    content = file.getvalue()
    picture = images.read(io.BytesIO(_checked(content[:33] + gamma + chunk + content[33:])))
    again = through(picture, "PNG")
    assert again.metadata.png_chunks == ((b"gAMA", struct.pack(">I", 45455)), (b"tEXt", text))
    assert again.without_metadata().metadata.png_chunks == again.metadata.png_chunks[:1]


def _checked(png: bytes) -> bytes:
    """The PNG with all its checksums put right."""
    import zlib

    out, at = png[:8], 8
    while at < len(png):
        (length,) = struct.unpack_from(">I", png, at)
        body = png[at + 4 : at + 8 + length]
        out += png[at : at + 4] + body + struct.pack(">I", zlib.crc32(body))
        at += 12 + length
    return out


def test_stripping_leaves_only_the_profile():
    picture = images.read(file_of("JPEG", exif=b"Exif\0\0" + exif(6), xmp=XMP, icc_profile=rgb_profile(), dpi=(72, 72)))
    assert picture.without_metadata().metadata == images.Metadata(icc=rgb_profile())
    for format in HOLDERS:
        again = through(picture.without_metadata(), format)
        assert (again.metadata.exif, again.metadata.xmp, again.metadata.icc) == (None, None, rgb_profile())


def test_a_long_profile_goes_into_several_jpeg_segments():
    profile = rgb_profile()
    long = struct.pack(">I", 200_000) + profile[4:] + bytes(200_000 - len(profile))
    picture = images.Picture(color=gradient(), metadata=images.Metadata(icc=long))
    assert through(picture, "JPEG").metadata.icc == long


def test_what_a_jpeg_segment_cannot_hold_is_named():
    metadata = images.Metadata(xmp=XMP + b" " * 70_000, exif=exif(1))
    picture = images.Picture(color=gradient(), metadata=metadata)
    assert images.losses(picture, "JPEG") == ["XMP"]
    again = through(picture, "JPEG")
    assert again.metadata.xmp is None and again.metadata.exif is not None


@pytest.mark.parametrize("format", ["GIF", "BMP"])
def test_formats_without_metadata_say_so(format):
    metadata = images.Metadata(icc=rgb_profile(), exif=exif(1), xmp=XMP)
    lost = images.losses(images.Picture(color=gradient(), metadata=metadata), format)
    assert {"ICC profile", "EXIF", "XMP"} <= set(lost)


def test_metadata_made_to_be_slow_is_not():
    count = 5400  # that many EXIF directories, all of them the main one
    directory = struct.pack("<H", count) + struct.pack("<HHII", 0x8769, 4, 1, 8) * count + bytes(4)
    metadata = images.Metadata(exif=b"II*\0\x08\0\0\0" + directory, xmp=b"<xmp:Thumbnails>hdrgm:a=" * 50_000)
    began = time.process_time()
    fitted = fit_to_size(make_upright(metadata)[0], 80, 60)
    assert fitted.xmp == metadata.xmp
    assert time.process_time() - began < 1


def test_xmp_announces_nothing_that_is_gone():
    container = b"<Container:Directory><Container:Item Item:Length='5'/></Container:Directory>"
    gone = b"hdrgm:Version='1.0' Camera:MicroVideo = \"1\""
    xmp = b"<a " + gone + b">" + container + b"<hdrgm:Version>1.0</hdrgm:Version><dc:title>A heron</dc:title></a>"
    assert companions(xmp) == ["the film of a motion photo", "an HDR gain map"]
    fitted = fit_to_size(images.Metadata(xmp=xmp), 8, 8).xmp
    assert fitted == b"<a  ><dc:title>A heron</dc:title></a>" and not companions(fitted)


def test_thumbnails_in_xmp_are_cut_out():
    thumbnail = b"<xmp:Thumbnails>\n<x/></xmp:Thumbnails>"
    xmp = b"<a/>" + thumbnail + b"<b/>" + thumbnail + b"<xmp:Thumbnails>"
    assert fit_to_size(images.Metadata(xmp=xmp), 8, 8).xmp == b"<a/><b/><xmp:Thumbnails>"


@settings(deadline=None)
@given(at=st.integers(0, 400), value=st.integers(0, 255), end=st.integers(0, 2000))
def test_damaged_exif_never_fails(at, value, end):
    content = bytearray(exif(6))
    content[min(at, len(content) - 1)] = value
    metadata, orientation = make_upright(images.Metadata(exif=bytes(content[:end]), xmp=XMP, dpi=(72, 72)))
    assert orientation in range(1, 9)
    fit_to_size(metadata, 80, 60)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF", "AVIF"])
def test_damaged_exif_costs_no_picture(format):
    """A text where Pillow expects a number: it can read this, but not write it."""
    entries = struct.pack(">HHII", 0x0112, 3, 1, 1 << 16) + struct.pack(">HHI4s", 0x011A, 2, 4, b"abc\0")
    damaged = b"MM\0*\0\0\0\x08" + struct.pack(">H", 2) + entries + bytes(4)
    picture = images.Picture(color=gradient(), metadata=images.Metadata(exif=damaged))
    assert through(picture, format).color.shape == gradient().shape
    assert ("damaged EXIF" in images.losses(picture, format)) == (format == "AVIF")


@settings(deadline=None)
@given(at=st.integers(8, 400), value=st.integers(0, 255))
@pytest.mark.slow
def test_damaged_exif_goes_into_a_tiff_or_is_left_out(at, value):
    content = bytearray(exif(6))
    content[at] = value
    metadata, _ = make_upright(images.Metadata(exif=bytes(content)))
    picture = images.Picture(color=gradient(), metadata=metadata)
    again = through(picture, "TIFF")
    np.testing.assert_array_equal(again.color, gradient())
    assert images.losses(picture, "TIFF") in ([], ["damaged EXIF"])


def test_a_tiff_without_unreadable_exif_says_so():
    picture = images.Picture(color=gradient(), metadata=images.Metadata(exif=b"not EXIF"))
    assert images.losses(picture, "TIFF") == ["damaged EXIF"]
    assert through(picture, "TIFF").metadata.exif is None


@pytest.mark.parametrize("xmp", [None, XMP, b"", XMP.replace(b"dc:title", b"dc:CreatorTool")])
def test_the_history_grows(xmp):
    once = with_history(xmp, tool="sr 1", parameters='by "<x>"')
    twice = with_history(once, tool="sr 2", parameters="again")
    root = ElementTree.fromstring(twice)
    found = {each.tag.rpartition("}")[2]: [] for each in root.iter()}
    for each in root.iter():
        found[each.tag.rpartition("}")[2]].append(each.text)
    assert found["softwareAgent"] == ["sr 1", "sr 2"] and found["parameters"] == ['by "<x>"', "again"]
    assert found["CreatorTool"] == (["A heron"] if b"CreatorTool" in (xmp or b"") else ["sr 1"])
    assert len(found["History"]) == len(found["Seq"]) == 1
    assert twice.startswith((xmp or b"").partition(b"</rdf:RDF>")[0])


@pytest.mark.parametrize("xmp", [b"x", b"</rdf:RDF><xmpMM:History>", b"<xmpMM:History></rdf:RDF>", XMP + bytes(65_000)])
def test_xmp_that_has_no_place_for_a_history_stays(xmp):
    assert with_history(xmp, tool="sr", parameters="x") == xmp
