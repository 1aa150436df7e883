"""JPEG XL by libjxl, whose C interface imagecodecs brings along; imagecodecs' own passes over profiles and metadata."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import POINTER, byref, c_char_p, c_double, c_float, c_int, c_size_t, c_uint8, c_uint32, c_void_p
from functools import lru_cache
from typing import Any, BinaryIO

import numpy as np

from sr_cli.errors import ImageError
from sr_cli.images.exif_xmp import fit_to_size
from sr_cli.images.icc import described_by_cicp, in_srgb, is_output_profile
from sr_cli.images.picture import Decoded, Header, Metadata, Picture, Unfit, check_size

SIGNATURES = (b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")  # a bare codestream, and a container

# Measured on an upscaled photo of 8 bits, one thread: lossless by effort 1 125 MP/s and 0.305 of the raw size, by 2 11
# and 0.277, by 3 5 and 0.218, by 4 1.5 and 0.218, by 7 0.2 and 0.190; lossy by 3 15 and 0.036, by 4 14 and 0.036, by 5
# 2 and 0.032.
_LOSSLESS_EFFORT, _LOSSY_EFFORT = 3, 4
_MAX_THREADS = 8
_MAX_METADATA = 1 << 26
_MAX_EXTRA_CHANNELS = 16
_OUTPUT_BYTES = 1 << 20
_ALL = (1 << 31) - 1

# The enumerations of libjxl's headers.
_SUCCESS, _MORE_INPUT, _IMAGE_BUFFER, _MORE_BOX = 0, 2, 5, 7
_BASIC_INFO, _COLOR, _FULL_IMAGE, _BOX = 0x40, 0x100, 0x1000, 0x4000
_MORE_OUTPUT, _EFFORT, _ORIGINAL, _GRAY, _D65 = 2, 0, 0, 1, 1
_UINT8, _UINT16 = 2, 3
_PRIMARIES = {1: 1, 9: 9, 11: 12}  # to those of ITU-T H.273
_TRANSFERS = (8, 13, 16, 18)  # linear, sRGB, PQ, HLG; as there


class _BasicInfo(ctypes.Structure):
    _fields_ = (
        ("have_container", c_int), ("xsize", c_uint32), ("ysize", c_uint32), ("bits_per_sample", c_uint32),
        ("exponent_bits_per_sample", c_uint32), ("intensity_target", c_float), ("min_nits", c_float),
        ("relative_to_max_display", c_int), ("linear_below", c_float), ("uses_original_profile", c_int),
        ("have_preview", c_int), ("have_animation", c_int), ("orientation", c_int), ("num_color_channels", c_uint32),
        ("num_extra_channels", c_uint32), ("alpha_bits", c_uint32), ("alpha_exponent_bits", c_uint32),
        ("alpha_premultiplied", c_int), ("preview", c_uint32 * 2), ("animation", c_uint32 * 4),
        ("intrinsic_size", c_uint32 * 2), ("padding", c_uint8 * 100),
    )  # fmt: skip


class _PixelFormat(ctypes.Structure):
    _fields_ = (("num_channels", c_uint32), ("data_type", c_int), ("endianness", c_int), ("align", c_size_t))


class _ColorEncoding(ctypes.Structure):
    _fields_ = (
        ("color_space", c_int), ("white_point", c_int), ("white_point_xy", c_double * 2), ("primaries", c_int),
        ("primaries_xy", c_double * 6), ("transfer_function", c_int), ("gamma", c_double), ("rendering_intent", c_int),
    )  # fmt: skip


class _Cms(ctypes.Structure):
    _fields_ = (("functions", c_void_p * 8),)


_HANDLES = ("JxlEncoderCreate", "JxlEncoderFrameSettingsCreate", "JxlDecoderCreate", "JxlThreadParallelRunnerCreate")
_OF_HANDLE = (
    "JxlThreadParallelRunnerDestroy", "JxlDecoderCreate", "JxlDecoderDestroy", "JxlDecoderCloseInput",
    "JxlDecoderProcessInput", "JxlDecoderReleaseBoxBuffer", "JxlEncoderCreate", "JxlEncoderDestroy",
    "JxlEncoderUseBoxes", "JxlEncoderCloseInput",
)  # fmt: skip
_ARGUMENTS: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(_OF_HANDLE, (c_void_p,)),
    "JxlThreadParallelRunnerCreate": (c_void_p, c_size_t),
    "JxlDecoderSetParallelRunner": (c_void_p, c_void_p, c_void_p),
    "JxlDecoderSubscribeEvents": (c_void_p, c_int),
    "JxlDecoderSetDecompressBoxes": (c_void_p, c_int),
    "JxlDecoderSetUnpremultiplyAlpha": (c_void_p, c_int),
    "JxlDecoderSetInput": (c_void_p, c_char_p, c_size_t),
    "JxlDecoderSkipFrames": (c_void_p, c_size_t),
    "JxlDecoderGetBasicInfo": (c_void_p, POINTER(_BasicInfo)),
    "JxlDecoderGetColorAsEncodedProfile": (c_void_p, c_int, POINTER(_ColorEncoding)),
    "JxlDecoderGetICCProfileSize": (c_void_p, c_int, POINTER(c_size_t)),
    "JxlDecoderGetColorAsICCProfile": (c_void_p, c_int, c_void_p, c_size_t),
    "JxlDecoderSetCms": (c_void_p, _Cms),
    "JxlDecoderSetOutputColorProfile": (c_void_p, POINTER(_ColorEncoding), c_char_p, c_size_t),
    "JxlDecoderSetImageOutBuffer": (c_void_p, POINTER(_PixelFormat), c_void_p, c_size_t),
    "JxlDecoderGetBoxType": (c_void_p, c_char_p, c_int),
    "JxlDecoderSetBoxBuffer": (c_void_p, c_void_p, c_size_t),
    "JxlEncoderSetParallelRunner": (c_void_p, c_void_p, c_void_p),
    "JxlEncoderInitBasicInfo": (POINTER(_BasicInfo),),
    "JxlEncoderSetBasicInfo": (c_void_p, POINTER(_BasicInfo)),
    "JxlEncoderSetICCProfile": (c_void_p, c_char_p, c_size_t),
    "JxlColorEncodingSetToSRGB": (POINTER(_ColorEncoding), c_int),
    "JxlEncoderSetColorEncoding": (c_void_p, POINTER(_ColorEncoding)),
    "JxlEncoderAddBox": (c_void_p, c_char_p, c_char_p, c_size_t, c_int),
    "JxlEncoderFrameSettingsCreate": (c_void_p, c_void_p),
    "JxlEncoderFrameSettingsSetOption": (c_void_p, c_int, ctypes.c_int64),
    "JxlEncoderSetFrameLossless": (c_void_p, c_int),
    "JxlEncoderSetFrameDistance": (c_void_p, c_float),
    "JxlEncoderDistanceFromQuality": (c_float,),
    "JxlEncoderAddImageFrame": (c_void_p, POINTER(_PixelFormat), c_void_p, c_size_t),
    "JxlEncoderProcessOutput": (c_void_p, POINTER(c_void_p), POINTER(c_size_t)),
}


@lru_cache(maxsize=1)
def _libjxl() -> Any:
    """The library with the types of its functions, or ``None`` where imagecodecs is built without it."""
    try:
        from imagecodecs import _jpegxl

        library = ctypes.CDLL(_jpegxl.__file__)  # finds the functions of the libraries that this one is linked to
        for name, arguments in _ARGUMENTS.items():
            function = getattr(library, name)
            function.argtypes, function.restype = arguments, c_void_p if name in _HANDLES else c_int
        library.JxlDecoderReleaseBoxBuffer.restype = c_size_t
        library.JxlEncoderDistanceFromQuality.restype = c_float
        library.JxlGetDefaultCms.restype = POINTER(_Cms)
    except (ImportError, OSError, AttributeError):
        return None
    return library


def read_jpeg_xl(file: BinaryIO, *, max_pixels: int) -> Decoded:
    """Decode the first frame, upright, in its own color space, with up to 16 bits.

    Raises:
        Unfit: too many pixels or channels, colors other than gray and RGB, or no libjxl.
        ValueError: damaged or cut off.
    """
    file.seek(0)
    content, events = file.read(), _BASIC_INFO | _COLOR | _FULL_IMAGE | _BOX
    with _decoder(content, events) as (jxl, decoder):
        decoding = _Decoding(jxl, decoder, max_pixels)
        try:
            return decoding.run()
        except ValueError:
            if not decoding.converts:
                raise
    with _decoder(content, events) as (jxl, decoder):  # libjxl 0.12 accepts linear profiles, and fails at the pixels
        return _Decoding(jxl, decoder, max_pixels, convert=False).run()


def read_header(file: BinaryIO) -> Header:
    """The size once it is upright; errors as in `read_jpeg_xl`."""
    for length in (1 << 16, -1):  # long metadata may stand before it
        file.seek(0)
        with _decoder(file.read(length), _BASIC_INFO) as (jxl, decoder):
            if jxl.JxlDecoderProcessInput(decoder) == _BASIC_INFO:
                info = _basic_info(jxl, decoder)
                return Header(format="JPEGXL", width=info.xsize, height=info.ysize)
    raise ValueError("libjxl finds no header")


@contextmanager
def _decoder(content: bytes, events: int) -> Iterator[tuple[Any, c_void_p]]:
    jxl = _libjxl()
    if jxl is None:
        raise Unfit("is a JPEG XL image, which needs a build of imagecodecs with libjxl")
    decoder = jxl.JxlDecoderCreate(None)
    try:
        _check(jxl.JxlDecoderSubscribeEvents(decoder, events))
        _check(jxl.JxlDecoderSetInput(decoder, content, len(content)))
        jxl.JxlDecoderCloseInput(decoder)
        yield jxl, decoder
    finally:
        jxl.JxlDecoderDestroy(decoder)


def _basic_info(jxl: Any, decoder: c_void_p) -> _BasicInfo:
    info = _BasicInfo()
    _check(jxl.JxlDecoderGetBasicInfo(decoder, byref(info)))
    return info


def _srgb(jxl: Any, *, is_gray: bool) -> _ColorEncoding:
    encoding = _ColorEncoding()
    jxl.JxlColorEncodingSetToSRGB(byref(encoding), is_gray)
    return encoding


def _to_cicp(encoding: _ColorEncoding) -> tuple[int, int] | None:
    """The code points of ITU-T H.273, where there are some for it."""
    primaries = 1 if encoding.color_space == _GRAY else _PRIMARIES.get(encoding.primaries)
    is_standard = primaries and encoding.white_point == _D65 and encoding.transfer_function in _TRANSFERS
    return (primaries, encoding.transfer_function) if primaries and is_standard else None


def _from_cicp(cicp: tuple[int, int], *, is_gray: bool) -> _ColorEncoding | None:
    primaries = {code: own for own, code in _PRIMARIES.items()}.get(cicp[0])
    if primaries is None or cicp[1] not in _TRANSFERS:
        return None
    return _ColorEncoding(
        color_space=int(is_gray), white_point=_D65, primaries=primaries, transfer_function=cicp[1], rendering_intent=1
    )


def _check(status: int) -> None:
    if status:
        raise ValueError("libjxl refuses it")


class _Decoding:
    """One run of the decoder: it reports what it comes to, and is told where to put it.

    Args:
        convert: whether lossy colors may be converted to the file's profile; else they become sRGB.

    Attributes:
        converts: whether they are.
    """

    def __init__(self, jxl: Any, decoder: c_void_p, max_pixels: int, *, convert: bool = True) -> None:
        self.jxl, self.decoder, self.max_pixels = jxl, decoder, max_pixels
        self.converts, self._convert = False, convert
        self.info = _BasicInfo()
        self.pixels: Any = None
        self.color: dict[str, Any] = {}
        self.boxes: dict[bytes, bytes] = {}
        self._kind, self._pieces = b"", list[bytes]()
        self._buffer = ctypes.create_string_buffer(0)
        self._steps = {
            _BASIC_INFO: self._on_header,
            _COLOR: self._on_color,
            _IMAGE_BUFFER: self._on_pixels,
            _FULL_IMAGE: lambda: jxl.JxlDecoderSkipFrames(decoder, _ALL),  # of an animation, to the boxes behind it
            _BOX: self._on_box,
            _MORE_BOX: self._grow_box,
        }

    def run(self) -> Decoded:
        with _threads(self.jxl) as runner:
            _check(self.jxl.JxlDecoderSetParallelRunner(self.decoder, self.jxl.JxlThreadParallelRunner, runner))
            _check(self.jxl.JxlDecoderSetDecompressBoxes(self.decoder, 1))
            _check(self.jxl.JxlDecoderSetUnpremultiplyAlpha(self.decoder, 1))
            while (status := self.jxl.JxlDecoderProcessInput(self.decoder)) in self._steps:
                self._steps[status]()
        if status != _SUCCESS or self.pixels is None:
            raise ValueError("libjxl finds its end too early" if status == _MORE_INPUT else "libjxl finds an error")
        self._end_box()
        exif = self.boxes.get(b"Exif", b"")
        start = 4 + int.from_bytes(exif[:4], "big")
        notes = ["only the first frame of its animation is upscaled"] if self.info.have_animation else []
        bits, kind = self.info.bits_per_sample, "float" if self.info.exponent_bits_per_sample else "integer"
        if bits > 16 or kind == "float":
            notes.append(f"its {bits}-bit {kind} values are read at 16 bits")
        return Decoded(
            pixels=self.pixels,
            colors=self.info.num_color_channels,
            metadata=Metadata(exif=exif[start:] or None, xmp=self.boxes.get(b"xml ") or None, **self.color),
            format="JPEGXL",
            orientation=1,  # libjxl has applied its own, which counts in place of EXIF's
            notes=tuple(notes),
        )

    def _on_header(self) -> None:
        self.info = info = _basic_info(self.jxl, self.decoder)
        check_size(info.xsize, info.ysize, self.max_pixels)
        if info.num_extra_channels > _MAX_EXTRA_CHANNELS:
            raise Unfit(f"has {info.num_extra_channels} channels beside its colors")

    def _on_color(self) -> None:
        """Get the profile, and have the pixels delivered in it; sRGB needs none."""
        stated = _ColorEncoding()
        if self.jxl.JxlDecoderGetColorAsEncodedProfile(self.decoder, _ORIGINAL, byref(stated)) == _SUCCESS and (
            cicp := _to_cicp(stated)
        ):
            if not self.info.uses_original_profile:
                _check(self.jxl.JxlDecoderSetOutputColorProfile(self.decoder, byref(stated), None, 0))
            self.color = described_by_cicp(cicp, self.info.num_color_channels)
            return
        size = c_size_t()
        _check(self.jxl.JxlDecoderGetICCProfileSize(self.decoder, _ORIGINAL, byref(size)))
        if size.value > _MAX_METADATA:
            raise Unfit("has a profile of more than 64 MB")
        buffer = ctypes.create_string_buffer(size.value)
        _check(self.jxl.JxlDecoderGetColorAsICCProfile(self.decoder, _ORIGINAL, buffer, size))
        icc = buffer.raw
        if icc[16:20] not in (b"GRAY", b"RGB "):
            space = icc[16:20].decode("latin-1").strip()
            raise Unfit(f"has unsupported colors ({space}); convert it to RGB first")
        if self.info.uses_original_profile or self._deliver_in(icc):
            self.color = {"icc": icc}
        else:
            srgb = _srgb(self.jxl, is_gray=self.info.num_color_channels == 1)
            _check(self.jxl.JxlDecoderSetOutputColorProfile(self.decoder, byref(srgb), None, 0))

    def _deliver_in(self, icc: bytes) -> bool:
        """Have the pixels converted to a profile, if colors can be converted to it and not only from it."""
        _check(self.jxl.JxlDecoderSetCms(self.decoder, self.jxl.JxlGetDefaultCms().contents))
        deliver_in = self.jxl.JxlDecoderSetOutputColorProfile
        wanted = self._convert and is_output_profile(icc)
        self.converts = wanted and deliver_in(self.decoder, None, icc, len(icc)) == _SUCCESS
        return self.converts

    def _on_pixels(self) -> None:
        info = self.info
        shape = (info.ysize, info.xsize, info.num_color_channels + (info.alpha_bits > 0))
        is_deep = max(info.bits_per_sample, info.alpha_bits) > 8
        pixels = np.empty(shape, np.uint16 if is_deep else np.uint8)
        form = _PixelFormat(shape[2], _UINT16 if is_deep else _UINT8)
        buffer = pixels.ctypes.data_as(c_void_p)
        _check(self.jxl.JxlDecoderSetImageOutBuffer(self.decoder, byref(form), buffer, pixels.nbytes))
        self.pixels = pixels

    def _on_box(self) -> None:
        self._end_box()
        kind = ctypes.create_string_buffer(4)
        _check(self.jxl.JxlDecoderGetBoxType(self.decoder, kind, 1))
        if kind.raw in (b"Exif", b"xml ") and kind.raw not in self.boxes:
            self._kind = kind.raw
            self._offer_buffer(1 << 16)

    def _offer_buffer(self, size: int) -> None:
        self._buffer = ctypes.create_string_buffer(size)
        _check(self.jxl.JxlDecoderSetBoxBuffer(self.decoder, self._buffer, size))

    def _take_buffer(self) -> None:
        left = self.jxl.JxlDecoderReleaseBoxBuffer(self.decoder)
        self._pieces.append(self._buffer.raw[: len(self._buffer) - left])

    def _grow_box(self) -> None:
        self._take_buffer()
        size = sum(map(len, self._pieces))
        if size > _MAX_METADATA:
            raise Unfit("has more than 64 MB of metadata")
        self._offer_buffer(size)

    def _end_box(self) -> None:
        if self._kind:
            self._take_buffer()
            self.boxes[self._kind] = b"".join(self._pieces)
            self._kind, self._pieces = b"", []


def write_jpeg_xl(file: BinaryIO, picture: Picture, *, quality: int) -> None:
    """Write a picture; quality 100 is lossless.

    Raises:
        ValueError: libjxl refuses it.
        ImageError: no libjxl.
    """
    jxl = _libjxl()
    if jxl is None:
        raise ImageError("JPEG XL files need a build of imagecodecs with libjxl")
    encoder = jxl.JxlEncoderCreate(None)
    try:
        with _threads(jxl) as runner:
            _check(jxl.JxlEncoderSetParallelRunner(encoder, jxl.JxlThreadParallelRunner, runner))
            picture = _describe(jxl, encoder, picture, is_lossless=quality == 100)
            _add_frame(jxl, encoder, picture, quality)
            jxl.JxlEncoderCloseInput(encoder)
            buffer = ctypes.create_string_buffer(_OUTPUT_BYTES)
            status = _MORE_OUTPUT
            while status == _MORE_OUTPUT:
                at, left = c_void_p(ctypes.addressof(buffer)), c_size_t(_OUTPUT_BYTES)
                status = jxl.JxlEncoderProcessOutput(encoder, byref(at), byref(left))
                file.write(memoryview(buffer)[: _OUTPUT_BYTES - left.value])
            _check(status)
    finally:
        jxl.JxlEncoderDestroy(encoder)


def _describe(jxl: Any, encoder: c_void_p, picture: Picture, *, is_lossless: bool) -> Picture:
    """Say size, depth, color space and metadata; returns the picture in that color space."""
    metadata = fit_to_size(picture.metadata, picture.width, picture.height)
    exif = bytes(4) + metadata.exif if metadata.exif else b""  # four bytes say where it begins
    boxes = {kind: content for kind, content in ((b"Exif", exif), (b"xml ", metadata.xmp)) if content}
    if boxes:
        _check(jxl.JxlEncoderUseBoxes(encoder))
    info = _BasicInfo()
    jxl.JxlEncoderInitBasicInfo(byref(info))
    info.xsize, info.ysize, info.bits_per_sample = picture.width, picture.height, picture.bits
    info.num_color_channels, info.uses_original_profile = picture.color.shape[2], is_lossless
    if picture.alpha is not None:
        info.num_extra_channels, info.alpha_bits = 1, picture.bits
    _check(jxl.JxlEncoderSetBasicInfo(encoder, byref(info)))
    icc = metadata.icc
    encoding = _from_cicp(metadata.cicp, is_gray=picture.is_gray) if metadata.cicp else None
    if encoding:
        _check(jxl.JxlEncoderSetColorEncoding(encoder, byref(encoding)))
    elif not icc or jxl.JxlEncoderSetICCProfile(encoder, icc, len(icc)):
        picture = in_srgb(picture)  # libjxl takes no profile without a white point, for example
        _check(jxl.JxlEncoderSetColorEncoding(encoder, byref(_srgb(jxl, is_gray=picture.is_gray))))
    for kind, content in boxes.items():
        _check(jxl.JxlEncoderAddBox(encoder, kind, content, len(content), 0))
    return picture


def _add_frame(jxl: Any, encoder: c_void_p, picture: Picture, quality: int) -> None:
    settings = jxl.JxlEncoderFrameSettingsCreate(encoder, None)
    is_lossless = quality == 100
    effort = _LOSSLESS_EFFORT if is_lossless else _LOSSY_EFFORT
    _check(jxl.JxlEncoderFrameSettingsSetOption(settings, _EFFORT, effort))
    if is_lossless:
        _check(jxl.JxlEncoderSetFrameLossless(settings, 1))
    else:
        _check(jxl.JxlEncoderSetFrameDistance(settings, jxl.JxlEncoderDistanceFromQuality(quality)))
    pixels = picture.color if picture.alpha is None else np.dstack([picture.color, picture.alpha])
    pixels = np.ascontiguousarray(pixels)
    form = _PixelFormat(pixels.shape[2], _UINT8 if picture.bits == 8 else _UINT16)
    _check(jxl.JxlEncoderAddImageFrame(settings, byref(form), pixels.ctypes.data_as(c_void_p), pixels.nbytes))


@contextmanager
def _threads(jxl: Any) -> Iterator[c_void_p]:
    runner = jxl.JxlThreadParallelRunnerCreate(None, min(_MAX_THREADS, os.cpu_count() or 1))
    try:
        yield runner
    finally:
        jxl.JxlThreadParallelRunnerDestroy(runner)
