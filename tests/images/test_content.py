"""Pictures are told apart by what they look like."""

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from sr_cli.images import read
from sr_cli.images.content import classify, jpeg_quality, measure


def kind_of(image, path, **options):
    image.save(path, **options)
    return classify(measure(read(path), path))


def photo(noise=0.0):
    """A smooth picture with noise, in 8-bit values."""
    y, x = np.mgrid[:96, :128] / 20
    color = np.stack([np.sin(x + y), np.sin(x * y / 3), np.cos(x - y)], -1) * 90 + 128
    color += noise * np.random.default_rng(0).standard_normal(color.shape)
    return Image.fromarray(np.clip(np.round(color), 0, 255).astype(np.uint8))


def page():
    image = Image.new("RGB", (200, 90), "white")
    ImageDraw.Draw(image).text((8, 8), "Whatever is\nworth doing", font=ImageFont.load_default(28), fill="black")
    return image


def drawing():
    image = Image.new("RGB", (120, 90), "skyblue")
    draw = ImageDraw.Draw(image)
    draw.ellipse((20, 10, 80, 70), fill="orange", outline="black", width=3)
    draw.line((0, 80, 119, 5), fill="black", width=3)
    return image


def line_art():
    """Black lines on white, antialiased."""
    image = Image.new("RGB", (480, 360), "white")
    draw = ImageDraw.Draw(image)
    draw.ellipse((80, 40, 320, 280), outline="black", width=8)
    draw.line((0, 320, 476, 20), fill="black", width=8)
    return image.reduce(4)


@pytest.mark.parametrize("quality", [10, 30, 50, 75, 85, 95])
def test_jpeg_quality_is_read_from_the_tables(tmp_path, quality):
    photo().save(tmp_path / "a.jpg", quality=quality)
    assert jpeg_quality(tmp_path / "a.jpg") == pytest.approx(quality, abs=1 if quality >= 20 else 6)
    photo().save(tmp_path / "a.png")
    assert jpeg_quality(tmp_path / "a.png") is None


def test_kinds(tmp_path):
    assert kind_of(photo(), tmp_path / "a.png")[0] == "clean"
    assert kind_of(photo(15), tmp_path / "b.png") == ("photo", "noisy")
    assert kind_of(photo(), tmp_path / "c.jpg", quality=80) == ("photo", "JPEG of quality 80")
    assert kind_of(photo(), tmp_path / "d.webp") == ("photo", "WEBP")
    assert kind_of(drawing(), tmp_path / "e.png")[0] == "drawing"
    assert kind_of(drawing().convert("1"), tmp_path / "f.png") == ("drawing", "2 colors")
    assert kind_of(page(), tmp_path / "g.png")[0] == "text"
    assert kind_of(line_art(), tmp_path / "h.png") == ("drawing", "94% black or white, few strokes")


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (9, 17), (1000, 900)])
@pytest.mark.parametrize("mode", ["L", "RGB", "I;16"])
def test_any_size_and_depth_can_be_measured(tmp_path, size, mode):
    assert kind_of(Image.new(mode, size), tmp_path / "a.png")[0] in ("clean", "text", "drawing")


@pytest.mark.parametrize("level", [6, 12, 20])
def test_noise_is_measured_beside_texture(tmp_path, level):
    image = photo(level)
    image.save(tmp_path / "a.png")
    assert measure(read(tmp_path / "a.png")).noise == pytest.approx(level / 3**0.5, rel=0.5)  # of the mean of 3
