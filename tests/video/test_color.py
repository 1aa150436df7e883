"""Planes of frames ↔ RGB."""

import numpy as np
import pytest

av = pytest.importorskip("av", reason="PyAV isn't installed")

from sr_cli.images import Picture  # noqa: E402
from sr_cli.video.color import LAYOUTS, Colors, standard_format, to_frame, to_picture  # noqa: E402

LIMITED_709 = Colors(matrix=1, primaries=1, transfer=1, range=1)
RED, GREEN, BLUE, WHITE, BLACK = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1], [0, 0, 0]])
SRGB = [RED, GREEN, BLUE, WHITE, BLACK]


def planes_of(frame):
    dtype = np.uint8 if frame.format.components[0].bits == 8 else np.uint16
    return [
        np.frombuffer(plane, dtype).reshape(plane.height, -1)[:, : plane.width].astype(int) for plane in frame.planes
    ]


def flat(color, size=(6, 4)):
    return Picture(color=np.broadcast_to(color * 65535, (size[1], size[0], 3)).astype(np.uint16))


# The colors of test patterns as the standards print them.
@pytest.mark.parametrize(
    ("colors", "pix_fmt", "values"),
    [
        (LIMITED_709, "yuv420p", [(63, 102, 240), (173, 42, 26), (32, 240, 118), (235, 128, 128), (16, 128, 128)]),
        (
            LIMITED_709._replace(matrix=6),
            "yuv422p",
            [(81, 90, 240), (145, 54, 34), (41, 240, 110), (235, 128, 128), (16, 128, 128)],
        ),
        (
            LIMITED_709._replace(matrix=5, range=2),
            "yuv444p",
            [(76, 85, 255), (150, 44, 21), (29, 255, 107), (255, 128, 128), (0, 128, 128)],
        ),
        (
            LIMITED_709._replace(matrix=9),
            "yuv420p10le",
            [(294, 387, 960), (658, 189, 100), (116, 960, 476), (940, 512, 512), (64, 512, 512)],
        ),
    ],
    ids=["bt709", "bt601", "jpeg", "bt2020-10"],
)
def test_primary_colors_have_the_values_of_the_standards(colors, pix_fmt, values):
    for color, expected in zip(SRGB, values, strict=True):
        frame = to_frame(flat(color), colors, pix_fmt)
        for plane, value in zip(planes_of(frame), expected, strict=True):
            assert abs(plane - value).max() <= 1
        back = to_picture(frame, colors, format="PNG").color / 65535
        assert abs(back - color).max() < 0.01


@pytest.mark.parametrize("is_full", [False, True])
@pytest.mark.parametrize("pix_fmt", ["gray", "gray10le", "gbrp", "gbrp12le", "yuv444p", "yuv444p10le", "yuv444p16le"])
def test_what_is_not_halved_survives_to_the_last_bit(pix_fmt, is_full):
    layout = LAYOUTS[pix_fmt]
    colors = LIMITED_709._replace(range=2 if is_full else 1)
    rng = np.random.default_rng(0)
    color = rng.integers(0, 65536, (9, 7, 1 if layout.kind == "gray" else 3)).astype(np.uint16)
    frame = to_frame(Picture(color=color), colors, pix_fmt)
    again = to_frame(to_picture(frame, colors, format="PNG"), colors, pix_fmt)
    tolerance = 1 if layout.bits == 16 else 0  # RGB pictures have 16 bits
    assert all(abs(a - b).max() <= tolerance for a, b in zip(planes_of(frame), planes_of(again), strict=True))
    assert frame.format.name == pix_fmt


@pytest.mark.parametrize("pix_fmt", ["yuv420p10le", "yuv422p10le"])
def test_chroma_stays_in_place(pix_fmt):
    ramp = np.linspace(0.3, 0.6, 24)
    color = np.stack([np.tile(ramp, (16, 1)), np.full((16, 24), 0.45), np.tile(ramp[:16, None], (1, 24))], axis=-1)
    picture = Picture(color=(color * 65535).astype(np.uint16))
    back = to_picture(to_frame(picture, LIMITED_709, pix_fmt), LIMITED_709, format="PNG")
    inside = (slice(3, -3), slice(3, -3))
    assert abs(back.color[inside].astype(int) - picture.color[inside]).max() < 65535 * 0.004


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("nv12", "yuv420p"),
        ("p010le", "yuv420p10le"),
        ("yuvj422p", "yuv422p"),
        ("rgb24", "gbrp"),
        ("yuva420p", "yuv420p"),
        ("yuv444p12le", "yuv444p12le"),
    ],
)
def test_formats_become_planes_without_loss(name, expected):
    assert standard_format(name) == expected


def test_what_the_encoder_lacks_becomes_the_nearest():
    assert standard_format("yuv422p12le", ["yuv420p", "yuv444p", "yuv422p10le", "nv12"]) == "yuv422p10le"
