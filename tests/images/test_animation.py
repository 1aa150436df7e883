"""Animations keep every frame, its duration, its transparency, and the number of loops."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageDraw

from sr_cli import images
from sr_cli.errors import ImageError
from support.pictures import gradient

DURATIONS = (50, 120, 80, 300)


def ball(position: int) -> Image.Image:
    """A ball on a transparent ground."""
    image = Image.new("RGBA", (80, 60), (0, 0, 0, 0))
    ImageDraw.Draw(image).ellipse((10 * position, 10, 10 * position + 30, 40), fill=(255, 60 * position, 0, 255))
    return image


@pytest.fixture
def moving(tmp_path):
    path = tmp_path / "moving.gif"
    frames = [ball(position) for position in range(4)]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=list(DURATIONS), loop=3, disposal=2)
    return path


def test_every_frame_is_whole_and_has_its_time(moving):
    with images.open_animation(moving) as animation:
        assert (animation.count, animation.loop) == (4, 3)
        frames = list(animation.frames)
    assert tuple(frame.duration for frame in frames) == DURATIONS
    for position, frame in enumerate(frames):
        expected = np.asarray(ball(position))
        np.testing.assert_array_equal(frame.picture.alpha, expected[..., 3])
        visible = expected[..., 3] > 0
        np.testing.assert_array_equal(frame.picture.color[visible], expected[visible][:, :3])


@pytest.mark.parametrize("suffix", ["gif", "webp", "png", "avif"])
def test_an_enlarged_animation_plays_the_same(moving, tmp_path, suffix):
    path = tmp_path / f"large.{suffix}"
    with images.open_animation(moving) as animation:
        images.write_animation((doubled(frame) for frame in animation.frames), path, loop=animation.loop)
    with images.open_animation(path) as animation:
        assert animation.count == 4
        assert animation.loop == 3 or suffix == "avif"  # which Pillow always lets play forever
        frames = list(animation.frames)
    assert tuple(frame.duration for frame in frames) == DURATIONS
    for position, frame in enumerate(frames):
        expected = np.asarray(ball(position)).repeat(2, 0).repeat(2, 1)
        assert np.abs(frame.picture.alpha.astype(int) - expected[..., 3]).mean() < 0.5
        visible = expected[..., 3] > 0
        assert np.abs(frame.picture.color[visible].astype(int) - expected[visible][:, :3]).mean() < 8


def doubled(frame: images.Frame) -> images.Frame:
    color, alpha = (plane.repeat(2, 0).repeat(2, 1) for plane in (frame.picture.color, frame.picture.alpha))
    return images.Frame(picture=replace(frame.picture, color=color, alpha=alpha), duration=frame.duration)


def test_playing_once_stays_playing_once(tmp_path):
    frames = [images.Frame(picture=images.Picture(color=gradient(channels=c)), duration=100) for c in (3, 1)]
    images.write_animation(frames, tmp_path / "once.gif", loop=1)
    with images.open_animation(tmp_path / "once.gif") as animation:
        assert animation.loop == 1


@pytest.mark.parametrize("format", ["PNG", "JPEG", "TIFF"])
def test_a_still_picture_is_an_animation_of_one_frame(tmp_path, format):
    images.write(images.Picture(color=gradient()), tmp_path / "still", format=format)
    with images.open_animation(tmp_path / "still") as animation:
        [frame] = animation.frames
        assert animation.count == 1
    assert frame.picture.color.shape == (30, 40, 3)


def test_the_still_picture_of_an_animated_png_is_no_frame(tmp_path):
    path = tmp_path / "poster.png"
    poster, *frames = (Image.new("RGB", (8, 8), color) for color in ("red", "lime", "blue"))
    poster.save(path, save_all=True, append_images=frames, default_image=True, duration=40)
    with images.open_animation(path) as animation:
        colors = [frame.picture.color[0, 0].tolist() for frame in animation.frames]
    assert colors == [[0, 255, 0], [0, 0, 255]]
    assert images.read(path).color[0, 0].tolist() == [255, 0, 0]


def test_formats_without_animation_are_refused(tmp_path):
    frame = images.Frame(picture=images.Picture(color=gradient()), duration=100)
    with pytest.raises(ImageError, match=r"moving\.jpg: JPEG doesn't support animation"):
        images.write_animation([frame], tmp_path / "moving.jpg", loop=0)
    with pytest.raises(ImageError, match="no frames to write"):
        images.write_animation([], tmp_path / "moving.gif", loop=0)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_frame_is_named_and_leaves_no_output(moving, tmp_path):
    broken = tmp_path / "broken.gif"
    broken.write_bytes(moving.read_bytes()[:-250])
    with (
        pytest.raises(ImageError, match=r"broken\.gif: cannot be decoded"),
        images.open_animation(broken) as animation,
    ):
        images.write_animation(animation.frames, tmp_path / "out.webp", loop=animation.loop)
    assert not (tmp_path / "out.webp").exists()


def test_an_animation_of_too_many_pixels_is_refused():
    file = io.BytesIO()
    frames = [Image.new("L", (100, 100), value) for value in range(40)]
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    with (
        pytest.raises(ImageError, match="40 frames of 100 × 100 pixels"),
        images.open_animation(file, max_pixels=10_000),
    ):
        pass
