"""Image in, image out: a network with its weights, its tiles and its way with alpha, color and size."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sr_cli import images
from sr_cli.config import COLOR_MATCHES, DEFAULT_MODEL, ColorMatch
from sr_cli.imageops.streaming_resize import bicubic_weights, resize_strips
from sr_cli.images import Picture
from sr_cli.networks.base import Network
from sr_cli.system import device as devices
from sr_cli.upscaling.color_match import match_histogram, match_low_frequencies
from sr_cli.upscaling.load import find_weights, interpolate, load_weights
from sr_cli.upscaling.runner import Runner
from sr_cli.upscaling.tiling import put_together, upscale_whole

OnTile = Callable[[int, int], None]
_RowsOf = Callable[[slice], Tensor]

_MATCH = {"low-frequency": match_low_frequencies, "histogram": match_histogram}


class Upscaler:
    """A network that is ready to upscale.

    Args:
        network: float32.
        name: how to call it in messages and file names.
        header: what its weights file says of itself.
        device: where to compute.
        dtype: what to compute in; a name, such as ``"auto"``: see `sr_cli.system.device.dtype_for`.
        tile: largest side of a tile, in LR pixels; ``"auto"``: what the free memory allows; ``None``: no tiles.
        color_match: how to correct colors; ``"auto"``: as the header says, else not at all.
        ensemble: take the mean over the eight flips and rotations, at eight times the cost.
        on_step_down: told, in a sentence, when memory runs out and less of it is used from then on.
    """

    def __init__(
        self,
        network: Network,
        *,
        name: str,
        header: dict[str, Any] | None = None,
        device: torch.device | str = "cpu",
        dtype: torch.dtype | str = torch.float32,
        tile: int | str | None = "auto",
        color_match: ColorMatch = "auto",
        ensemble: bool = False,
        on_step_down: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.network, self.name, self.header = network, name, header or {}
        own = str(self.header.get("color_match", "none"))
        self.color_match = (own if own in COLOR_MATCHES else "none") if color_match == "auto" else color_match
        device = torch.device(device)
        if isinstance(dtype, str):
            dtype = devices.dtype_for(device, dtype, bfloat16=network.tolerates_bfloat16)
        self.inference = Runner(
            network.eval().requires_grad_(False), device=device, dtype=dtype, tile=tile, ensemble=ensemble,
            on_step_down=on_step_down,
        )  # fmt: skip
        self.scale = network.scale

    @classmethod
    def from_pretrained(
        cls,
        model: str | Path = DEFAULT_MODEL,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype | str = torch.float32,
        tile: int | str | None = "auto",
        color_match: ColorMatch = "auto",
        ensemble: bool = False,
        strength: float = 1.0,
        on_step_down: Callable[[str], None] = lambda _: None,
    ) -> "Upscaler":
        """Load weights by name (shipped or downloaded) or from a file, ours or another project's.

        Args:
            strength: from 0, the weights that these were trained from, to 1; see `sr_cli.upscaling.load.interpolate`.

        Raises:
            WeightsError: no weights have that name, or the file is missing, damaged, or of an unknown kind; or
                ``strength`` is below 1 and these weights weren't trained from others of the same architecture.
        """
        path = find_weights(model)
        network, header = load_weights(path)
        if strength != 1:
            network = interpolate(network, header, strength, name=path.stem)
        return cls(
            network, name=path.stem, header=header, device=device, dtype=dtype, tile=tile, color_match=color_match,
            ensemble=ensemble, on_step_down=on_step_down,
        )  # fmt: skip

    @property
    def device(self) -> torch.device:
        """Where it computes; the CPU once memory has run out elsewhere."""
        return self.inference.device

    @property
    def dtype_name(self) -> str:
        """What it computes in, such as ``float32``."""
        return str(self.inference.dtype).removeprefix("torch.")

    def upscale_tensor(self, lr: Tensor) -> Tensor:
        """``(N, 3, H, W)`` in [0, 1] → ``(N, 3, scale·H, scale·W)`` in [0, 1], on the device of ``lr``."""
        count, channels, height, width = lr.shape
        if count == 1:
            strips = self.inference.strips(lambda rows: lr[..., rows, :], (height, width))
            return put_together(strips, (1, channels, self.scale * height, self.scale * width)).to(lr.device)
        self.inference.fit(height, width)
        return upscale_whole(self.inference, lr).to(lr.device)

    def upscale(self, photo: Image.Image, *, size: tuple[int, int] | None = None) -> Image.Image:
        """Upscale a Pillow image; grey stays grey and alpha stays alpha (modes L, LA, RGB, RGBA; others become RGB).

        Args:
            size: width and height of the result; by default ``scale`` times those of ``photo``.
        """
        mode = photo.mode if photo.mode in ("L", "LA", "RGB", "RGBA") else "RGB"
        pixels = np.atleast_3d(np.array(photo.convert(mode)))
        channels = len(mode.removesuffix("A"))
        alpha = np.ascontiguousarray(pixels[..., channels]) if mode.endswith("A") else None
        picture = Picture(color=np.ascontiguousarray(pixels[..., :channels]), alpha=alpha)
        large = self.upscale_picture(picture, size=size)
        joined = large.color if large.alpha is None else np.dstack([large.color, large.alpha])
        return Image.fromarray(joined[..., 0] if joined.shape[2] == 1 else joined)

    def upscale_picture(
        self, picture: Picture, *, size: tuple[int, int] | None = None, on_tile: OnTile = lambda *_: None
    ) -> Picture:
        """`strips`, put together."""
        wanted = size or (picture.width * self.scale, picture.height * self.scale)
        return joined(self.strips(picture, size=size, on_tile=on_tile), like=picture, size=wanted)

    def strips(
        self, picture: Picture, *, size: tuple[int, int] | None = None, on_tile: OnTile = lambda *_: None
    ) -> Iterator[Picture]:
        """Upscale a decoded file from top to bottom; the result has its bit depth, color space and metadata.

        Args:
            picture: as `images.read` returns it.
            size: width and height of the result; by default ``scale`` times those of ``picture``. The network runs
                until it is reached, twice if need be; what is too large is reduced by an antialiased kernel.
            on_tile: called after each tile with the number of tiles done and their count.

        Yields:
            Strips of the result, each as wide as it.
        """
        shape = (picture.height, picture.width)
        wanted = (shape[0] * self.scale, shape[1] * self.scale) if size is None else (size[1], size[0])
        alpha = None if picture.alpha is None else _AlphaRows(picture.alpha, wanted)
        if picture.alpha is not None:
            bled = images.bleed(picture.color, picture.alpha)
            picture = Picture(color=bled, metadata=picture.metadata, format=picture.format)
        large, reached = self._passes(picture, wanted, on_tile)
        top = 0
        for strip in resize_strips(large, reached, wanted):
            for rows in images.bands(strip.shape[-2], strip.shape[-1]):
                own = images.encode_color(picture, strip[0, :, rows].permute(1, 2, 0).numpy())
                part = slice(top, top + len(own))
                yield Picture(
                    color=own,
                    alpha=None if alpha is None else alpha.rows(part),
                    metadata=picture.metadata,
                    format=picture.format,
                )
                top = part.stop
            del strip  # or it would still be there while the next one is made

    def passes(self, shape: tuple[int, int], wanted: tuple[int, int]) -> int:
        """How often the network must run to get from one height and width to at least another."""
        count, reached = 1, self.scale
        while self.scale > 1 and any(side * reached < goal for side, goal in zip(shape, wanted, strict=True)):
            count, reached = count + 1, reached * self.scale
        return count

    def _passes(
        self, picture: Picture, wanted: tuple[int, int], on_tile: OnTile
    ) -> tuple[Iterator[Tensor], tuple[int, int]]:
        """Run the network as often as it takes; the last result comes in strips, what is before it is kept."""
        shape = (picture.height, picture.width)
        lr: _RowsOf = lambda rows: images.to_tensor(_rows_of(picture, rows))  # noqa: E731
        for _ in range(self.passes(shape, wanted) - 1):
            kept = _Kept(self._upscaled(lr, shape, on_tile), (shape[0] * self.scale, shape[1] * self.scale))
            lr, shape = kept.rows, kept.shape
        return self._upscaled(lr, shape, on_tile), (shape[0] * self.scale, shape[1] * self.scale)

    def _upscaled(self, lr: _RowsOf, shape: tuple[int, int], on_tile: OnTile) -> Iterator[Tensor]:
        strips = self.inference.strips(lr, shape, on_tile=on_tile)
        match = _MATCH.get(self.color_match)
        return match(strips, lr, shape, scale=self.scale) if match else strips


def joined(strips: Iterable[Picture], *, like: Picture, size: tuple[int, int]) -> Picture:
    """Strips below each other.

    Args:
        like: has the channels, the bit depth and the metadata of the result.
        size: width and height of the result.
    """
    width, height = size
    color = np.empty((height, width, like.color.shape[2]), like.color.dtype)
    alpha = None if like.alpha is None else np.empty((height, width), like.color.dtype)
    top = 0
    for strip in strips:
        rows = slice(top, top + strip.height)
        color[rows] = strip.color
        if alpha is not None:
            alpha[rows] = strip.alpha
        top = rows.stop
    return Picture(color=color, alpha=alpha, metadata=like.metadata, format=like.format)


class _Kept:
    """A picture in between, at 16 bits."""

    def __init__(self, strips: Iterator[Tensor], shape: tuple[int, int]) -> None:
        self.shape = shape
        self._values = np.empty((3, *shape), np.uint16)
        top = 0
        for strip in strips:
            bottom = top + strip.shape[-2]
            self._values[:, top:bottom] = strip[0].numpy() * np.float32(65535) + np.float32(0.5)
            top = bottom

    def rows(self, rows: slice) -> Tensor:
        return torch.from_numpy(self._values[:, rows].astype(np.float32) / np.float32(65535))[None]


class _AlphaRows:
    """Rows of ``(H, W)`` alpha resized by the bicubic kernel, at its own bit depth."""

    def __init__(self, alpha: images.Pixels, wanted: tuple[int, int]) -> None:
        self._alpha = alpha
        self._top = float(np.iinfo(alpha.dtype).max)
        self._down, self._across = (bicubic_weights(*lengths) for lengths in zip(alpha.shape, wanted, strict=True))

    def rows(self, rows: slice) -> images.Pixels:
        down = self._down.part(rows.start, rows.stop)
        needed = down.needs
        values = torch.from_numpy(self._alpha[needed].astype(np.float32))
        large = self._across.apply(down.apply(values, dim=-2, first=needed.start), dim=-1)
        return (large.clamp_(0, self._top) + 0.5).numpy().astype(self._alpha.dtype)  # type: ignore[return-value]


def _rows_of(picture: Picture, rows: slice) -> Picture:
    return Picture(color=picture.color[rows], metadata=picture.metadata, format=picture.format)
