"""Networks see sRGB-like values; files keep their own color space and every color in it."""

import io
from dataclasses import replace

import imagecodecs
import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from sr_cli import images
from sr_cli.images.icc import srgb_profile
from support.pictures import PRIMARIES, cmyk_profile, gradient, gray_profile, rgb_profile, rgb_table_profile


def recolored(picture: images.Picture, color: torch.Tensor) -> images.Picture:
    """The picture with the colors of a tensor, ``(1, 3, H, W)``."""
    return replace(picture, color=images.encode_color(picture, color[0].permute(1, 2, 0).numpy()))


def with_profile(icc: bytes | None, *, channels: int = 3, dtype=np.uint8) -> images.Picture:
    return images.Picture(color=gradient(channels=channels, dtype=dtype), metadata=images.Metadata(icc=icc))


def all_values(icc: bytes, *, channels: int, dtype) -> images.Picture:
    """A picture that has every value of its depth in every channel."""
    values = np.arange(np.iinfo(dtype).max + 1, dtype=dtype).reshape(16, -1)
    color = np.stack([np.roll(values, 7 * channel) for channel in range(channels)], axis=-1)
    return images.Picture(color=color, metadata=images.Metadata(icc=icc))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("gamma", [1.0, 1.8, 2.19921875, 2.6])
@pytest.mark.parametrize("name", [*PRIMARIES, "gray"])
@pytest.mark.slow
def test_every_value_of_a_profile_finds_its_way_back(name, gamma, dtype):
    icc = gray_profile(gamma) if name == "gray" else rgb_profile(name, gamma)
    picture = all_values(icc, channels=1 if name == "gray" else 3, dtype=dtype)
    again = recolored(picture, images.to_tensor(picture))
    # At gamma 2.6 the darkest of 65536 values are closer together than float32 tells apart.
    assert np.abs(again.color.astype(int) - picture.color).max() <= (1 if dtype == np.uint16 else 0)
    assert again.metadata.icc == icc


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
def test_every_value_of_a_table_profile_finds_its_way_back(gamma, dtype):
    picture = all_values(rgb_table_profile(gamma), channels=3, dtype=dtype)
    again = recolored(picture, images.to_tensor(picture))
    assert np.abs(again.color.astype(int) - picture.color).max() <= (1 if dtype == np.uint16 else 0)
    assert again.metadata.icc == picture.metadata.icc


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
def test_grays_of_a_table_profile_become_about_the_grays_of_srgb(gamma):
    icc = rgb_table_profile(gamma)
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    srgb = ImageCms.profileToProfile(
        Image.fromarray(ramp), io.BytesIO(icc), ImageCms.createProfile("sRGB"),
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC, flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )  # fmt: skip
    assert srgb is not None
    seen = images.to_tensor(images.Picture(color=ramp, metadata=images.Metadata(icc=icc)))
    assert np.abs(255 * seen[0].permute(1, 2, 0).numpy() - np.asarray(srgb)).max() < 6


@pytest.mark.parametrize("gamma", [1.0, 1.8, 2.19921875])
def test_grays_become_the_grays_of_srgb(gamma):
    icc = rgb_profile("adobe-rgb", gamma)
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    srgb = ImageCms.profileToProfile(Image.fromarray(ramp), io.BytesIO(icc), ImageCms.createProfile("sRGB"))
    assert srgb is not None
    seen = images.to_tensor(images.Picture(color=ramp, metadata=images.Metadata(icc=icc)))
    difference = 255 * seen[0].permute(1, 2, 0).numpy() - np.asarray(srgb)
    assert np.abs(difference).max() < 1.5


def test_linear_light_is_shown_with_the_srgb_curve():
    linear = np.linspace(0, 65535, 1000).astype(np.uint16).reshape(1, -1, 1)
    for icc, channels in ((gray_profile(1.0), 1), (rgb_profile("prophoto", 1.0), 3)):
        color = np.repeat(linear, channels, axis=2)
        seen = images.to_tensor(images.Picture(color=color, metadata=images.Metadata(icc=icc)))[0, 0, 0].numpy()
        light = linear[0, :, 0] / 65535
        expected = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
        np.testing.assert_allclose(seen, expected, atol=2e-4)


@pytest.mark.parametrize("icc", [None, srgb_profile(), b"not a profile", b"", cmyk_profile(), gray_profile()])
def test_without_a_usable_profile_values_are_taken_as_they_are(icc):
    picture = with_profile(icc)
    np.testing.assert_array_equal(images.to_tensor(picture)[0].permute(1, 2, 0), picture.color / np.float32(255))


@pytest.mark.slow
def test_damaged_profiles_are_passed_over_and_kept():
    whole = rgb_profile("prophoto", 1.8)
    generator = np.random.default_rng(0)
    for _ in range(150):
        damaged = bytearray(whole)
        for at in generator.integers(0, len(damaged), 4):
            damaged[at] = generator.integers(0, 256)
        picture = with_profile(bytes(damaged[: generator.integers(100, len(damaged))]))
        tensor = images.to_tensor(picture)
        assert torch.isfinite(tensor).all() and tensor.min() >= 0 and tensor.max() <= 1
        again = recolored(picture, tensor)
        assert again.metadata.icc == picture.metadata.icc


@pytest.mark.parametrize("name", PRIMARIES)
def test_read_rgb_converts_to_srgb(tmp_path, name):
    icc = rgb_profile(name)
    picture = with_profile(icc)
    images.write(picture, tmp_path / "wide.png")
    expected = ImageCms.profileToProfile(
        Image.fromarray(picture.color), io.BytesIO(icc), ImageCms.createProfile("sRGB"),
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC, flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )  # fmt: skip
    assert np.abs(images.read_rgb(tmp_path / "wide.png").astype(int) - np.asarray(expected)).max() <= 1


def test_read_rgb_leaves_srgb_alone(tmp_path):
    picture = with_profile(srgb_profile())
    images.write(picture, tmp_path / "usual.png")
    np.testing.assert_array_equal(images.read_rgb(tmp_path / "usual.png"), picture.color)


def test_gray_is_the_luma_of_what_the_network_made():
    color = torch.tensor([0.2, 0.6, 0.4]).reshape(1, 3, 1, 1).expand(1, 3, 5, 7)
    gray = recolored(images.Picture(color=gradient(channels=1)), color)
    assert gray.is_gray and set(np.unique(gray.color)) == {round(255 * (0.299 * 0.2 + 0.587 * 0.6 + 0.114 * 0.4))}


def test_16_bit_files_go_through_unchanged(tmp_path):
    pixels = gradient(channels=4, dtype=np.uint16)
    (tmp_path / "in.png").write_bytes(imagecodecs.png_encode(pixels))
    picture = images.read(tmp_path / "in.png")
    images.write(recolored(picture, images.to_tensor(picture)), tmp_path / "out.png")
    np.testing.assert_array_equal(imagecodecs.png_decode((tmp_path / "out.png").read_bytes()), pixels)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_tensor_and_back_is_the_same_picture(channels, dtype):
    picture = images.Picture(color=gradient(600, 1000, channels=channels, dtype=dtype))
    tensor = images.to_tensor(picture)
    assert tensor.shape == (1, 3, 600, 1000) and tensor.dtype == torch.float32
    np.testing.assert_array_equal(recolored(picture, tensor).color, picture.color)


def test_color_out_of_range_is_clipped():
    color = torch.tensor([-0.5, 0.5, 1.5]).reshape(1, 3, 1, 1).expand(1, 3, 4, 5)
    picture = recolored(images.Picture(color=gradient()), color)
    assert np.unique(picture.color.reshape(-1, 3), axis=0).tolist() == [[0, 128, 255]]
