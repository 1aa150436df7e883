"""Strips of any height give the file that the whole picture gives, atomically."""

import io
import signal
import subprocess
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sr_cli import images
from sr_cli.images.picture import band_rows, rechunk
from support.fast_python import python
from support.pictures import gradient


def strips_of(picture: images.Picture, *heights: int):
    top = 0
    for height in heights:
        rows = slice(top, top + height)
        alpha = None if picture.alpha is None else picture.alpha[rows]
        yield replace(picture, color=picture.color[rows], alpha=alpha)
        top += height


@given(heights=st.lists(st.integers(0, 9)), rows=st.integers(1, 9))
def test_rechunking_keeps_every_row(heights, rows):
    expected = np.arange(sum(heights), dtype=np.uint8)
    chunks = list(rechunk(np.split(expected, np.cumsum(heights))[:-1], rows))
    assert all(len(chunk) == rows for chunk in chunks[:-1])
    np.testing.assert_array_equal(np.concatenate([expected[:0], *chunks]), expected)


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_strips_give_the_file_of_the_whole_picture(tmp_path, format):
    height = 2 * band_rows(700) + 5
    pixels = gradient(height, 700, channels=4, dtype=np.uint16)
    picture = images.Picture(color=pixels[..., :3], alpha=pixels[..., 3])
    whole = io.BytesIO()
    images.write(picture, whole, format=format)
    strips = strips_of(picture, 1, 2, 700, 0, 3, height - 706)
    images.write_strips(strips, tmp_path / "strips", like=picture, size=(700, height), format=format)
    assert (tmp_path / "strips").read_bytes() == whole.getvalue()


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_strips_that_do_not_fit_leave_nothing(tmp_path, suffix):
    picture = images.Picture(color=gradient())
    deep = replace(picture, color=picture.color.astype(np.uint16))
    for strips, height, message in [
        (strips_of(picture, 20), 30, "last 10 rows"),
        (strips_of(picture, 20, 10), 25, "10 rows for the last 5"),
        (strips_of(deep, 20), 20, "don't fit"),
    ]:
        with pytest.raises(ValueError, match=message):
            images.write_strips(strips, tmp_path / f"x.{suffix}", like=picture, size=(40, height))
    assert list(tmp_path.iterdir()) == []


def test_an_error_while_writing_leaves_the_old_file_as_it_was(tmp_path):
    path = tmp_path / "picture.png"
    images.write(images.Picture(color=gradient(channels=1)), path)
    before = path.read_bytes()
    picture = images.Picture(color=gradient())

    def interrupted():
        yield from strips_of(picture, 20)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        images.write_strips(interrupted(), path, like=picture, size=(40, 30))
    assert [(p, p.read_bytes()) for p in tmp_path.iterdir()] == [(path, before)]


HALF = """
import sys, numpy as np, time
from pathlib import Path
from sr_cli import images
def strips():
    yield images.Picture(color=np.random.default_rng(0).integers(0, 255, (2900, 1000, 3), np.uint8))
    print("half", flush=True)
    time.sleep(60)
like = images.Picture(color=np.zeros((1, 1, 3), np.uint8))
images.write_strips(strips(), Path(sys.argv[1]), like=like, size=(1000, 3000))
"""


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_a_killed_writer_leaves_no_file_of_that_name(tmp_path, suffix):
    path = tmp_path / f"picture.{suffix}"
    with subprocess.Popen([python(), "-c", HALF, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"half\n"
        process.send_signal(signal.SIGKILL)
    assert not path.exists()
