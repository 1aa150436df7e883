"""Image in, image out: a network plus everything around it: tiling, alpha, color correction, resizing."""

import functools
import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from sr_cli import images
from sr_cli.config import AUTO, COLOR_MATCHES, DEFAULT_MODEL, JPEG_MODEL, MODEL_FOR, UpscaleConfig
from sr_cli.errors import ImageError
from sr_cli.imageops.resize import resize
from sr_cli.imageops.streaming_resize import bicubic_weights, resize_strips
from sr_cli.images import Picture
from sr_cli.images.content import classify, measure
from sr_cli.networks.base import Network
from sr_cli.system import device as devices
from sr_cli.upscaling.batch.target_size import available_scales, default_model, model_for, target_size
from sr_cli.upscaling.color_match import match_histogram, match_low_frequencies
from sr_cli.upscaling.load import find_weights, interpolate, load_weights
from sr_cli.upscaling.runner import Runner
from sr_cli.upscaling.tiling import put_together, upscale_whole

OnTile = Callable[[int, int], None]
_RowsOf = Callable[[slice], Tensor]

_MATCH = {"low-frequency": match_low_frequencies, "histogram": match_histogram}

_MILD = 80  # at x2, JPEG quality above which compression hardly shows, see docs/research/auto-model.md


class Upscaler:
    """A network that is ready to upscale.

    Args:
        model: weights by name (shipped or downloaded), a file of this or another project, the folder of a run, or a
            network (float32); ``"auto"`` chooses for each picture, as ``sr upscale`` does, see `suited_to`.
        config: the settings; ``None``: the defaults.
        name: of a network, for messages and file names.
        header: metadata of its weights file.
        on_step_down: called with a sentence when memory runs out and less of it is used from then on.
        fields: of `UpscaleConfig`, to be changed in ``config``: ``device`` (such as ``"cuda:1"``), ``dtype``,
            ``tile``, ``ensemble``, ``color_match``, ``smooth_jpeg``; ``strength``, the blend of the weights that these
            were trained from (``sr train --init``) and these; ``kind``, what ``"auto"`` takes all pictures for;
            ``arch``, the network's class (``"package.module:Class"``) if it comes from another package.

    Raises:
        WeightsError: no weights have that name; or the file is missing, damaged, or of an unknown kind; or
            ``strength`` is below 1 and these weights weren't trained from others of the same architecture.
        DeviceError: the device is absent, or doesn't support the dtype.
    """

    def __init__(
        self,
        model: Network | str | Path = AUTO,
        config: UpscaleConfig | None = None,
        *,
        name: str | None = None,
        header: dict[str, Any] | None = None,
        on_step_down: Callable[[str], None] = lambda _: None,
        **fields: Any,
    ) -> None:
        config = replace(config or UpscaleConfig(), **fields)
        self._others: dict[tuple[object, ...], Upscaler] = {}
        self._smooth_jpeg = config.smooth_jpeg
        self.is_auto = model == AUTO and (model := default_model(config)) == AUTO
        self._load_other = functools.partial(Upscaler, config=config, on_step_down=on_step_down)
        if isinstance(model, Network):
            network, name = model, name or type(model).__name__
        else:
            network, header, name = _load(
                model_for(config.scale, available_scales()) if self.is_auto else model, config
            )
        self.network, self.name, self.header, self.scale = network, name, header or {}, network.scale
        wanted = str(self.header.get("color_match", "none"))
        self.color_match = (
            (wanted if wanted in COLOR_MATCHES else "none") if config.color_match == "auto" else config.color_match
        )
        device = devices.choose(config.device)
        self.runner = Runner(
            network.eval().requires_grad_(False),
            device=device,
            dtype=devices.dtype_for(
                device, config.dtype, bfloat16=network.tolerates_bfloat16, float16=network.tolerates_float16
            ),
            tile=config.tile,
            ensemble=config.ensemble,
            on_step_down=on_step_down,
        )

    @classmethod
    def from_pretrained(cls, model: str | Path = DEFAULT_MODEL, *args: Any, **options: Any) -> "Upscaler":
        """`Upscaler` with one model for all pictures by default."""
        return cls(model, *args, **options)

    def __repr__(self) -> str:
        name = AUTO if self.is_auto else self.name
        return f"Upscaler({name!r}, x{self.scale}, {self.device}, {self.dtype_name})"

    def suited_to(self, picture: Picture, path: Path | None = None) -> tuple["Upscaler", str | None]:
        """The upscaler for a picture and why, if it was loaded as ``"auto"``; else itself and ``None``.

        Args:
            path: the picture's file, which tells the JPEG quality.
        """
        if not self.is_auto:
            return self, None
        measures = measure(picture, path)
        kind, reason = classify(measures)
        model = MODEL_FOR[kind]
        if self.scale == 2 and measures.lossy:
            model = DEFAULT_MODEL if (measures.quality or 100) > _MILD else JPEG_MODEL
        suited = self if model == DEFAULT_MODEL else self._other(model)
        return suited, f"{kind}, {reason}"

    def _other(self, model: str, **fields: Any) -> "Upscaler":
        """The upscaler with another model, or other fields of the config, loaded once."""
        key = (model, *fields.values())
        if key not in self._others:
            self._others[key] = self._load_other(model, **fields)
        return self._others[key]

    @property
    def device(self) -> torch.device:
        """Where it computes; the CPU once memory has run out elsewhere."""
        return self.runner.device

    @property
    def dtype_name(self) -> str:
        """The number format it computes in, such as ``float32``."""
        return str(self.runner.dtype).removeprefix("torch.")

    def identity(self) -> dict[str, str]:
        """What a result depends on besides its input and its size."""
        weights = hashlib.sha256()
        for values in self.network.state_dict().values():
            weights.update(values.float().cpu().numpy().tobytes())
        how = {"dtype": self.dtype_name, "ensemble": str(self.runner.ensemble), "color_match": self.color_match}
        return {"model": self.name, "weights": weights.hexdigest(), "device": str(self.device), **how}

    def upscale_tensor(self, lr: Tensor) -> Tensor:
        """``(N, 3, H, W)`` in [0, 1] → ``(N, 3, scale·H, scale·W)`` in [0, 1], on the device of ``lr``."""
        count, channels, height, width = lr.shape
        if count == 1:
            strips = self.runner.strips(lambda rows: lr[..., rows, :], (height, width))
            return put_together(strips, (1, channels, self.scale * height, self.scale * width)).to(lr.device)
        self.runner.fit(height, width)
        return upscale_whole(self.runner, lr).to(lr.device)

    def upscale(
        self,
        photo: Any,
        *,
        size: tuple[int, int] | None = None,
        scale: float | None = None,
        width: int | None = None,
        progress: OnTile = lambda *_: None,
    ) -> Any:
        """Upscale a picture, or several.

        Args:
            photo: one of these, or a list or tuple of them:

                - a path, or a Pillow image of any mode: gives a Pillow image, upright, with profile and metadata in its
                  ``info``; gray of 16 bits stays so (mode I is taken for that, F for values to 255), other colors have
                  8 bits;
                - a NumPy array, ``(H, W)`` or ``(H, W, C)`` with 1 to 4 channels (gray or RGB, then alpha), uint8,
                  uint16, or floating point in [0, 1]: gives an array of its dtype;
                - a tensor ``(3, H, W)`` or ``(N, 3, H, W)`` in [0, 1]: gives one, see `upscale_tensor`.
            size: width and height of the result.
            scale: the factor, in place of ``size``; by default the network's. ``"auto"`` takes the network for it.
            width: that of the result, with the proportions of the picture, in place of ``size``.
            progress: called with the number of finished tiles and their count; for a list, with those of pictures.

        Raises:
            ImageError: the file is missing, or isn't a picture.
            ValueError: an array or a tensor of another shape or dtype; two of ``size``, ``scale`` and ``width``, or a
                result that is more than 64 times as large along a side.
            TypeError: something else.
        """
        if isinstance(photo, (list, tuple)):
            results = []
            for each in photo:
                results.append(self.upscale(each, size=size, scale=scale, width=width))
                progress(len(results), len(photo))
            return results
        if sum(each is not None for each in (size, scale, width)) > 1:
            raise ValueError("size, scale and width exclude each other")
        factor, columns = None if scale is None else float(scale), None if width is None else int(width)
        wanted = UpscaleConfig(size=size, scale=factor, width=columns)  # checks them
        if self.is_auto and scale is not None and model_for(scale, available_scales()) != self.name:
            return self._other(AUTO, scale=factor).upscale(photo, scale=scale, progress=progress)
        if isinstance(photo, Tensor):
            if photo.ndim not in (3, 4) or photo.shape[-3] != 3:
                raise ValueError(f"the tensor has shape {tuple(photo.shape)}, not (3, H, W) or (N, 3, H, W)")
            goal = target_size(wanted, photo.shape[-1], photo.shape[-2], network_scale=self.scale)
            large = self.upscale_tensor(photo if photo.ndim == 4 else photo[None])
            if goal != (large.shape[-1], large.shape[-2]):
                large = resize(large, goal[::-1]).clamp(0, 1)
            return large if photo.ndim == 4 else large[0]
        if isinstance(photo, str) and "://" in photo:
            raise ImageError(f"{photo}: is an address; download the picture, or use sr upscale")
        path = Path(photo) if isinstance(photo, (str, Path)) else None
        if path is not None:
            picture = images.read(path, smooth_jpeg=self._smooth_jpeg)
        elif isinstance(photo, Image.Image):
            picture = images.from_pillow(photo)
        elif isinstance(photo, np.ndarray):
            picture = _from_array(photo)
        else:
            raise TypeError(f"cannot upscale {type(photo).__name__}: give a path, a Pillow image, an array or a tensor")
        goal = target_size(wanted, picture.width, picture.height, network_scale=self.scale)
        result = self.suited_to(picture, path)[0].upscale_picture(picture, size=goal, on_tile=progress)
        return _to_array(result, like=photo) if isinstance(photo, np.ndarray) else _to_image(result)

    __call__ = upscale

    def upscale_picture(
        self, picture: Picture, *, size: tuple[int, int] | None = None, on_tile: OnTile = lambda *_: None
    ) -> Picture:
        """The strips of `strips`, joined."""
        wanted = size or (picture.width * self.scale, picture.height * self.scale)
        return join_strips(self.strips(picture, size=size, on_tile=on_tile), like=picture, size=wanted)

    def strips(
        self, picture: Picture, *, size: tuple[int, int] | None = None, on_tile: OnTile = lambda *_: None
    ) -> Iterator[Picture]:
        """Upscale a decoded file from top to bottom, keeping its bit depth, color space and metadata.

        Args:
            picture: from `images.read`.
            size: width and height of the result; by default ``scale`` times those of ``picture``. The network runs
                until they are reached, several times if necessary; the surplus is removed by an antialiased kernel.
            on_tile: called after each tile with the number of finished tiles and their count.

        Yields:
            Strips of the result, each as wide as it.
        """
        shape = (picture.height, picture.width)
        wanted = (shape[0] * self.scale, shape[1] * self.scale) if size is None else (size[1], size[0])
        rgba = picture.alpha is not None and self.network.takes_alpha and self.color_match == "none"
        alpha = None if picture.alpha is None or rgba else _AlphaRows(picture.alpha, wanted)
        if picture.alpha is not None and not rgba:
            bled = images.bleed(picture.color, picture.alpha)
            picture = Picture(color=bled, metadata=picture.metadata, format=picture.format)
        large, reached = self._run_passes(picture, wanted, on_tile)
        top = 0
        for strip in resize_strips(large, reached, wanted):
            for rows in images.bands(strip.shape[-2], strip.shape[-1]):
                color = images.encode_color(picture, strip[0, :3, rows].permute(1, 2, 0).numpy())
                part = slice(top, top + len(color))
                opacity = alpha.rows(part) if alpha else _to_alpha(strip[0, 3, rows], color) if rgba else None
                yield Picture(color=color, alpha=opacity, metadata=picture.metadata, format=picture.format)
                top = part.stop
            del strip  # frees it before the next one is computed

    def passes(self, shape: tuple[int, int], wanted: tuple[int, int]) -> int:
        """How often the network must run to get from one height and width to at least another."""
        count, reached = 1, self.scale
        while self.scale > 1 and any(side * reached < goal for side, goal in zip(shape, wanted, strict=True)):
            count, reached = count + 1, reached * self.scale
        return count

    def _run_passes(
        self, picture: Picture, wanted: tuple[int, int], on_tile: OnTile
    ) -> tuple[Iterator[Tensor], tuple[int, int]]:
        """Run the network as often as necessary; only the result of the last run comes in strips."""
        shape = (picture.height, picture.width)

        def first_rows(rows: slice) -> Tensor:
            color = images.to_tensor(
                Picture(color=picture.color[rows], metadata=picture.metadata, format=picture.format)
            )
            if picture.alpha is None:
                return color
            values = picture.alpha[rows].astype(np.float32) / np.iinfo(picture.alpha.dtype).max
            return torch.cat([color, torch.from_numpy(values)[None, None]], dim=1)

        lr: _RowsOf = first_rows
        for _ in range(self.passes(shape, wanted) - 1):
            kept = _Intermediate(self._run(lr, shape, on_tile), (shape[0] * self.scale, shape[1] * self.scale))
            lr, shape = kept.rows, kept.shape
        return self._run(lr, shape, on_tile), (shape[0] * self.scale, shape[1] * self.scale)

    def _run(self, lr: _RowsOf, shape: tuple[int, int], on_tile: OnTile) -> Iterator[Tensor]:
        strips = self.runner.strips(lr, shape, on_tile=on_tile)
        match = _MATCH.get(self.color_match)
        return match(strips, lr, shape, scale=self.scale) if match else strips


def _load(model: str | Path, config: UpscaleConfig) -> tuple[Network, dict[str, Any], str]:
    """The network of weights, the header of their file, and their name."""
    path = find_weights(model)
    network, header = load_weights(path, arch=config.arch)
    if config.strength not in (None, 1):
        network = interpolate(network, header, config.strength, name=path.stem, arch=config.arch)
    return network, header, Path(model).name if Path(model).is_dir() else path.stem


def join_strips(strips: Iterable[Picture], *, like: Picture, size: tuple[int, int]) -> Picture:
    """Join strips from top to bottom.

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


class _Intermediate:
    """The result of a pass before the last, at 16 bits."""

    def __init__(self, strips: Iterator[Tensor], shape: tuple[int, int]) -> None:
        self.shape = shape
        self._values = np.empty((0, *shape), np.uint16)
        top = 0
        for strip in strips:
            if not top:
                self._values = np.empty((strip.shape[1], *shape), np.uint16)
            bottom = top + strip.shape[-2]
            self._values[:, top:bottom] = strip[0].numpy() * np.float32(65535) + np.float32(0.5)
            top = bottom

    def rows(self, rows: slice) -> Tensor:
        return torch.from_numpy(self._values[:, rows].astype(np.float32) / np.float32(65535))[None]


def _to_alpha(values: Tensor, color: images.Pixels) -> images.Pixels:
    """Opacity in [0, 1] in the bit depth of ``color``."""
    top = float(np.iinfo(color.dtype).max)
    return (values * top + 0.5).clamp(0, top).numpy().astype(color.dtype)  # type: ignore[return-value]


class _AlphaRows:
    """Rows of ``(H, W)`` alpha resized by the bicubic kernel, in its bit depth."""

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


def _from_array(values: npt.NDArray[Any]) -> Picture:
    pixels = np.atleast_3d(values)
    if values.ndim not in (2, 3) or not 1 <= pixels.shape[2] <= 4 or not values.size:
        raise ValueError(f"the array has shape {values.shape}, not (H, W) or (H, W, C) with 1 to 4 channels")
    if np.issubdtype(values.dtype, np.floating):
        pixels = np.round(pixels.clip(0, 1) * 65535).astype(np.uint16)
    elif values.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"the array is {values.dtype}, not uint8, uint16 or floating point")
    colors = 1 if pixels.shape[2] < 3 else 3
    alpha = np.ascontiguousarray(pixels[..., colors]) if pixels.shape[2] > colors else None
    return Picture(color=np.ascontiguousarray(pixels[..., :colors]), alpha=alpha)


def _to_array(picture: Picture, *, like: npt.NDArray[Any]) -> npt.NDArray[Any]:
    color: npt.NDArray[Any] = picture.color
    values = color if picture.alpha is None else np.dstack([color, picture.alpha])
    if np.issubdtype(like.dtype, np.floating):
        values = (values / 65535).astype(like.dtype)
    return values[..., 0] if like.ndim == 2 else values


def _to_image(picture: Picture) -> Image.Image:
    if picture.metadata.is_hdr:  # a Pillow image cannot say it
        picture = images.in_srgb(picture)
    if picture.bits == 16 and picture.channels == 1:
        image = Image.fromarray(picture.color[..., 0])
    else:
        image = images.to_pillow(picture, "PNG")
    image.info.update({**_texts(picture), **images.pillow_options(picture, "PNG")})
    return image


def _texts(picture: Picture) -> dict[str, str]:
    """The texts of a PNG file that aren't compressed, by name."""
    found = {}
    for kind, content in picture.metadata.png_chunks:
        name, _, text = content.partition(b"\0")
        if kind == b"tEXt":
            found[name.decode("latin-1")] = text.decode("latin-1")
        elif kind == b"iTXt" and text[:1] == b"\0":  # then its method, the language and the translated name
            found[name.decode("latin-1")] = text[2:].split(b"\0", 2)[2].decode("utf-8", "replace")
    return found
