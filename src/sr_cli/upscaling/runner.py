"""A network that runs: on a device, in a dtype, in strips or tiles that fit into memory, and again with less of it."""

import math
from collections.abc import Callable, Iterator
from functools import cached_property

import torch
from torch import Tensor

from sr_cli.errors import DeviceError, WeightsError, is_out_of_memory
from sr_cli.imageops import dihedral
from sr_cli.networks.base import Network
from sr_cli.networks.fast.inference_form import InferenceForm
from sr_cli.networks.fast.streaming import Stream
from sr_cli.system import device as devices
from sr_cli.system.cpu_tuning import release_freed_memory
from sr_cli.upscaling.tile_size import Memory, choose_tile, measure_memory, shortest_strip, smallest_tile
from sr_cli.upscaling.tiling import Span, TileTooLarge, upscale_strips

_LARGE = 64 << 20  # bytes of a tile's result, above which freed memory goes back to the system


class Runner:
    """Runs a network over strips of an image, or over tiles.

    An image that is too large for one run comes in strips as wide as it is, if the network streams: they need no halo,
    see `sr_cli.networks.fast.streaming`. Tiles are for everything else: other networks, images that are too wide, and
    what a caller asks for.

    When a half-precision result is not finite, float32 takes over. When memory runs out, tiles become smaller, then the
    CPU takes over. What worked is remembered.

    Args:
        network: float32, anywhere; it is left as it is.
        tile: largest side of a tile, in LR pixels; ``"auto"``: what fits into the free memory; ``None``: no tiles.
        ensemble: return the mean over the eight flips and rotations.
        on_step_down: called with a sentence at each step down: less memory, or a wider dtype.
    """

    def __init__(
        self,
        network: Network,
        *,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
        tile: int | str | None = "auto",
        ensemble: bool = False,
        on_step_down: Callable[[str], None] = lambda _: None,
    ) -> None:
        if isinstance(tile, int) and tile < 1:
            raise ValueError(f"tile size must be 1 or more, not {tile}")
        self.network, self.geometry = network, network.geometry
        self.device, self.dtype, self.ensemble = device, dtype, ensemble
        self.on_step_down = on_step_down
        self.tile: tuple[int, int] | None = (tile, tile) if isinstance(tile, int) else None
        self._may_stream = tile == "auto" and network.streams and not ensemble
        self._automatic = tile == "auto"
        self._limit: int | None = None
        self._prepared: dict[tuple[torch.device, torch.dtype], InferenceForm] = {}

    def fit(self, height: int, width: int) -> None:
        """Choose the tile for an image of that size, unless the caller has."""
        if self._automatic:
            self.tile = choose_tile(height, width, self._memory(), streams=self._may_stream, limit=self._limit)

    def streams(self, height: int, width: int) -> bool:
        """Whether an image of that size comes in strips, now that the tile is chosen."""
        if not self._may_stream or self.tile is None:
            return False
        rows = Span(0, height, height).cut(self.tile[0])
        shortest = min(each.size for each in rows)
        return self.tile[1] >= width and len(rows) > 1 and shortest >= shortest_strip(self.geometry)

    def strips(
        self,
        lr: Callable[[slice], Tensor],
        shape: tuple[int, int],
        *,
        on_tile: Callable[[int, int], None] = lambda *_: None,
    ) -> Iterator[Tensor]:
        """Upscale an image from top to bottom, in strips if possible, else in tiles; see `upscale_strips`.

        Raises a `DeviceError` or a `WeightsError` where calling it does.
        """
        self.fit(*shape)
        done = top = 0
        if self.tile and self.streams(*shape):
            run = self._ready(self.dtype).stream()
            spans = Span(0, shape[0], shape[0]).cut(self.tile[0])
            rest: Tensor | None = None  # the first rows of an LR pixel whose others come with the next strip
            for span in spans:
                sr = self._run_strip(run, lr(span.widened(0)), last=span is spans[-1])
                if sr is None:
                    break
                done += 1
                on_tile(done, len(spans))
                if rest is not None:
                    sr = torch.cat([rest, sr], dim=-2)
                known, waiting = divmod(sr.shape[-2], self.geometry.scale)
                rest = sr[..., sr.shape[-2] - waiting :, :].clone() if waiting else None
                top += known
                yield sr[..., : known * self.geometry.scale, :]
                del sr  # or it would still be there while the next one is made
            del run
        if top < shape[0]:
            yield from upscale_strips(
                self, lr, shape, top=top, on_tile=lambda more, of: on_tile(done + more, done + of)
            )

    @torch.no_grad()  # not inference_mode, whose results cannot be changed in place
    def __call__(self, lr: Tensor) -> Tensor:
        """``(N, 3, h, w)`` → ``(N, 3, scale·h, scale·w)`` in [0, 1], float32, on the CPU.

        Raises:
            TileTooLarge: there isn't enough memory for it; smaller tiles, or the same on the CPU, may do.
            DeviceError: there isn't enough memory for anything.
            WeightsError: the result is not finite, even in float32.
        """

        sr = self._attempt(lambda: self._run(lr, self.dtype), side=max(lr.shape[-2:]))
        if sr is None:
            raise TileTooLarge
        if _finite(sr):
            return sr.clamp(0, 1)
        if self.dtype == torch.float32:
            raise WeightsError("the network's output is not finite: its weights are damaged, or not meant for this")
        half = str(self.dtype).removeprefix("torch.")
        self.on_step_down(f"the network's output is not finite in {half}: in float32 from now on")
        self.dtype = torch.float32
        self._prepared.clear()
        return self(lr)

    def _run(self, lr: Tensor, dtype: torch.dtype) -> Tensor:
        run, lr = self._ready(dtype), lr.to(device=self.device)
        sr = _to_memory(_mean_over_symmetries(run, lr) if self.ensemble else run(lr))
        if sr.nbytes > _LARGE:
            release_freed_memory()
        return sr

    @torch.no_grad()
    def _run_strip(self, run: Stream, lr: Tensor, *, last: bool) -> Tensor | None:
        """The next rows of the result; ``None`` if it fails, and tiles must take over."""
        side = math.isqrt(lr.shape[-2] * lr.shape[-1])
        sr = self._attempt(lambda: _to_memory(run(lr.to(device=self.device), last)), side=side)
        return sr.clamp_(0, 1) if sr is not None and _finite(sr) else None

    def _attempt(self, run: Callable[[], Tensor], *, side: int) -> Tensor | None:
        """The result of ``run``; ``None``, after a step down, if memory runs out."""
        try:
            return run()
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        # Not in the handler: the traceback holds the tensors that there is no room for.
        self._step_down(side)
        return None

    def _ready(self, dtype: torch.dtype) -> InferenceForm:
        key = self.device, dtype
        if key not in self._prepared:
            self._prepared[key] = InferenceForm(self.network, device=self.device, dtype=dtype)
        return self._prepared[key]

    def _step_down(self, side: int) -> None:
        """Use less memory from now on: smaller tiles; at the end, the CPU."""
        if self.device.type in ("cuda", "mps"):
            getattr(torch, self.device.type).empty_cache()
        shown = min(max(self.tile), side) if self.tile else side
        smaller = shown // 2
        if smaller >= smallest_tile(self.geometry):
            self._limit = smaller
            self.tile = (smaller, smaller)
            self.on_step_down(f"not enough memory on {self.device}: tiles of {smaller} × {smaller} from now on")
        elif self.device.type != "cpu":
            self.on_step_down(f"not enough memory on {self.device} even for tiles of {shown} × {shown}: on the CPU now")
            self.device, self.dtype = torch.device("cpu"), torch.float32
            self._prepared.clear()
        else:
            raise DeviceError(
                f"not enough memory even for tiles of {shown} × {shown} pixels; close other programs, or use a smaller "
                "network"
            )

    def _memory(self) -> Memory:
        free = devices.free_memory(self.device)
        return Memory(self.geometry, self._network_memory, free, shared=self.device.type == "cpu")

    def _network_memory(self, height: int, width: int) -> int:
        """About how many bytes of the device's memory an input of that size takes."""
        runs, itemsize = 2 if self.ensemble else 1, self.dtype.itemsize
        known = self.network.memory(height, width, itemsize=itemsize)
        return round(self._bytes_per_pixel * runs * itemsize / 4 * height * width) if known is None else known * runs

    @cached_property
    def _bytes_per_pixel(self) -> float:
        return measure_memory(self.network)


def _mean_over_symmetries(run: Callable[[Tensor], Tensor], lr: Tensor) -> Tensor:
    """The mean over the square's eight symmetries, each undone after the run."""
    total = run(lr).float().clone()
    for symmetry in range(1, dihedral.COUNT):
        total += dihedral.inverse_transform(run(dihedral.transform(lr, symmetry)).float(), symmetry)
    return total / dihedral.COUNT


def _to_memory(sr: Tensor) -> Tensor:
    """Copy to the CPU in float32: from CUDA into pinned memory, which PyTorch keeps for the next copy.

    An H100 wrote 1.6 GB/s to fresh memory and 55 to pinned memory (``benchmarks/gpu.py``).
    """
    sr = sr.float()
    return torch.empty(sr.shape, pin_memory=True).copy_(sr) if sr.is_cuda else sr.cpu()


def _finite(values: Tensor) -> bool:
    return bool(values.sum().isfinite())
