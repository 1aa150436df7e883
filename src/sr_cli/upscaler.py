"""Image in, image out: a network with its weights, its tiles and its way with alpha and color spaces."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sr_cli import images, weights
from sr_cli.checkpoint import load_network
from sr_cli.config import DEFAULT_MODEL, DEFAULT_TILE
from sr_cli.errors import WeightsError
from sr_cli.images import Picture
from sr_cli.networks import Compact, Johnson
from sr_cli.resize import resize
from sr_cli.tiling import Tile, plan_tiles, upscale_tiled, upscale_tiles


class Upscaler:
    """A network that is ready to upscale.

    Args:
        network: in eval mode.
        name: how to call it in messages and file names.
        header: what its weights file says of itself.
        device: where to compute.
        tile: largest side of a tile, in LR pixels; ``None`` for no tiles.
    """

    def __init__(
        self,
        network: Johnson | Compact,
        *,
        name: str,
        header: dict[str, Any] | None = None,
        device: torch.device | str = "cpu",
        tile: int | None = DEFAULT_TILE,
    ) -> None:
        self.device = torch.device(device)
        layout = torch.channels_last if isinstance(network, Johnson) else torch.contiguous_format
        self.network = network.eval().requires_grad_(False).to(device=self.device, memory_format=layout)
        self.name, self.header, self.tile, self.layout = name, header or {}, tile, layout
        self.scale, self.halo = network.scale, network.halo

    @classmethod
    def from_pretrained(
        cls,
        model: str | Path = DEFAULT_MODEL,
        *,
        device: torch.device | str = "cpu",
        tile: int | None = DEFAULT_TILE,
    ) -> "Upscaler":
        """Load weights by name (shipped or downloaded) or from a ``.safetensors`` file that `sr train` wrote.

        Raises:
            WeightsError: no weights have that name, or the file is missing, damaged, or no weights of ours.
        """
        path = weights_file(model)
        network, header = load_network(path)
        return cls(network, name=path.stem, header=header, device=device, tile=tile)

    @torch.inference_mode()
    def upscale_tensor(self, lr: Tensor) -> Tensor:
        """``(N, 3, H, W)`` in [0, 1] → ``(N, 3, scale·H, scale·W)`` in [0, 1], on the device of ``lr``."""
        return upscale_tiled(self._run, lr, scale=self.scale, halo=self.halo, size=self.tile).to(lr.device)

    def upscale(self, photo: Image.Image) -> Image.Image:
        """Upscale a Pillow image; grey stays grey and alpha stays alpha (modes L, LA, RGB, RGBA; others become RGB)."""
        mode = photo.mode if photo.mode in ("L", "LA", "RGB", "RGBA") else "RGB"
        pixels = np.array(photo.convert(mode))
        pixels = pixels[..., None] if pixels.ndim == 2 else pixels
        has_alpha = mode.endswith("A")
        picture = Picture(
            color=np.ascontiguousarray(pixels[..., :-1] if has_alpha else pixels),
            alpha=np.ascontiguousarray(pixels[..., -1]) if has_alpha else None,
        )
        large = self.upscale_picture(picture)
        parts = [large.color] if large.alpha is None else [large.color, large.alpha[..., None]]
        joined = np.concatenate(parts, axis=2)
        return Image.fromarray(joined[..., 0] if joined.shape[2] == 1 else joined, mode)

    @torch.inference_mode()
    def upscale_picture(self, picture: Picture, *, on_tile: Callable[[int, int], None] = lambda *_: None) -> Picture:
        """Upscale a decoded file; the result has its bit depth, color space and metadata.

        Args:
            picture: as `images.read` returns it.
            on_tile: called after each tile with the number of tiles done and their count.
        """
        size = (picture.height * self.scale, picture.width * self.scale)
        color = np.empty((*size, picture.color.shape[2]), picture.color.dtype)
        count = len(plan_tiles(picture.height, picture.width, size=self.tile, halo=self.halo))
        for done, (tile, sr) in enumerate(self._tiles(images.to_tensor(picture)), start=1):
            rows, columns = (
                slice(span.start * self.scale, span.stop * self.scale) for span in (tile.rows, tile.columns)
            )
            color[rows, columns] = images.own_values(picture, sr[0].permute(1, 2, 0).cpu().numpy())
            on_tile(done, count)
        alpha = None if picture.alpha is None else enlarge_alpha(picture.alpha, size)
        return Picture(color=color, alpha=alpha, metadata=picture.metadata, format=picture.format)

    def _tiles(self, lr: Tensor) -> Iterator[tuple[Tile, Tensor]]:
        return upscale_tiles(self._run, lr, scale=self.scale, halo=self.halo, size=self.tile)

    def _run(self, lr: Tensor) -> Tensor:
        return self.network(lr.to(device=self.device, memory_format=self.layout)).to(lr.device)  # type: ignore[no-any-return]


def enlarge_alpha(alpha: images.Pixels, size: tuple[int, int]) -> images.Pixels:
    """Resize ``(H, W)`` alpha by the bicubic kernel, at its own bit depth."""
    top = np.iinfo(alpha.dtype).max
    smooth = resize(torch.from_numpy(alpha.astype(np.float32) / top)[None, None], size)
    return (smooth[0, 0].clamp(0, 1).numpy() * top + 0.5).astype(alpha.dtype)  # type: ignore[no-any-return]


def weights_file(model: str | Path) -> Path:
    """The file of weights that are named, or given as a path (anything with a suffix or a folder in it).

    Raises:
        WeightsError: there is no such file, or no weights of that name.
    """
    path = Path(model)
    if path.suffix or len(path.parts) > 1:
        if not path.is_file():
            raise WeightsError(f"{path}: no such weights file")
        return path
    return weights.locate(str(model), kind="upscaler")
