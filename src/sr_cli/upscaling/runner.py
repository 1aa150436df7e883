"""A network that runs: on a device, in a dtype, in strips or tiles that fit into memory; and on when that runs out."""

import copy
import math
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from sr_cli.errors import DeviceError, WeightsError
from sr_cli.imageops import dihedral
from sr_cli.networks.base import Network
from sr_cli.networks.fast.onednn import FusedConv
from sr_cli.networks.fast.streaming import Stream
from sr_cli.system import device as devices
from sr_cli.system.cpu_tuning import release_freed_memory
from sr_cli.upscaling.tiling import Span, TileTooLarge, upscale_strips

BUDGET = 512 << 20
"""Bytes that a row of tiles may take on the CPU, its result included."""

_SHARE = 0.5  # of what is free: others want some too, and estimates err
_SMALLEST = 32  # side of the smallest tile that is tried when memory runs out
_LARGEST = 1024  # side of the largest tile that is chosen: beyond, the halo costs next to nothing
_LARGE = 64 << 20  # bytes of a tile's result, beyond which memory in pieces would add up
_CHEAP, _DEAR = 1.1, 1.15  # times the work that an image would be without tiles
_TIMES = 4  # strips and tiles that would be too small may take so many times the budget
_WAITING = 2.2  # strips take so many times the memory of a tile: what waits for the next, and pieces put together
_ROWS = 8  # rows of a strip that the last layer is left with, at least
_PROBE = 32  # side of the image that shows how much memory a network takes
_ESTIMATE = 2.0  # a network takes about so many times the largest input and output of one of its layers
_LAYOUT = torch.channels_last


class Runner:
    """Runs a network over strips of an image, or over tiles; see `sr_cli.upscaling.tiling.TiledNetwork`.

    An image that is too large for one run comes in strips as wide as it is, if the network is one of ours: they need no
    halo, see `sr_cli.networks.fast.streaming`. Tiles are for all the rest: other networks,
    images too wide, what a caller asks for.

    Half precision whose result is not finite is done again in float32. When memory runs out, tiles become smaller, then
    the CPU takes over; what worked is remembered.

    Args:
        network: float32, anywhere; it is left as it is.
        device: where to compute.
        dtype: what to compute in.
        tile: largest side of a tile, in LR pixels; ``"auto"``: what fits into the free memory; ``None``: no tiles.
        ensemble: return the mean over the eight flips and rotations.
        on_step_down: told, in a sentence, of each step down.
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
        self._automatic = tile == "auto"
        self._limit: int | None = None
        self._prepared: dict[tuple[torch.device, torch.dtype], InferenceForm] = {}

    def fit(self, height: int, width: int) -> None:
        """Choose the tile for an image of that size, unless the caller has."""
        if self._automatic:
            self.tile = self._fitting(height, width)

    def streams(self, height: int, width: int) -> bool:
        """Whether an image of that size comes in strips, now that the tile is chosen."""
        if not self._automatic or self.ensemble or self.tile is None or not self.network.streams:
            return False
        rows = Span(0, height, height).cut(self.tile[0])
        return self.tile[1] >= width and len(rows) > 1 and min(each.size for each in rows) >= self._shortest

    def strips(
        self,
        lr: Callable[[slice], Tensor],
        shape: tuple[int, int],
        *,
        on_tile: Callable[[int, int], None] = lambda *_: None,
    ) -> Iterator[Tensor]:
        """Upscale an image from top to bottom, in strips where they will do, else in tiles.

        Args:
            lr: gives rows of the image, ``(1, 3, h, W)`` in [0, 1].
            shape: height and width of the LR image.
            on_tile: called after each strip or tile with the number of them done and their count.

        Yields:
            ``(1, 3, scale·h, scale·W)`` strips in [0, 1] that make up the result when put below each other.

        Raises:
            DeviceError: there isn't enough memory for anything.
            WeightsError: the result is not finite, even in float32.
        """
        self.fit(*shape)
        done = top = 0
        if self.tile and self.streams(*shape):
            run = self._ready(self.device, self.dtype).stream()
            spans = Span(0, shape[0], shape[0]).cut(self.tile[0])
            rest: Tensor | None = None  # of rows that belong to one of LR, the first
            for span in spans:
                sr = self._streamed(run, lr(span.widened(0)), last=span is spans[-1])
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

    @torch.no_grad()
    def _streamed(self, run: Stream, lr: Tensor, *, last: bool) -> Tensor | None:
        """The next rows of the result; nothing where that can't go on, and tiles must take over."""
        try:
            sr = run(lr.to(device=self.device), last).float().cpu()
        except (torch.OutOfMemoryError, RuntimeError, MemoryError) as error:
            if not _is_out_of_memory(error):
                raise
            trouble = error
        else:
            return sr.clamp_(0, 1) if _finite(sr) else None
        del trouble  # see `__call__`
        self._step_down(math.isqrt(lr.shape[-2] * lr.shape[-1]))
        return None

    @torch.no_grad()  # not inference_mode, whose results nobody may change in place
    def __call__(self, lr: Tensor) -> Tensor:
        """``(N, 3, h, w)`` → ``(N, 3, scale·h, scale·w)`` in [0, 1], float32, on the CPU.

        Raises:
            TileTooLarge: there isn't enough memory for it; smaller tiles, or the same on the CPU, may do.
            DeviceError: there isn't enough memory for anything.
            WeightsError: the result is not finite, even in float32.
        """
        try:
            sr = self._run(lr, self.dtype)
            if self.dtype != torch.float32 and not _finite(sr):
                sr = self._run(lr, torch.float32)
        except (torch.OutOfMemoryError, RuntimeError, MemoryError) as error:
            if not _is_out_of_memory(error):
                raise
            trouble = error
        else:
            if not _finite(sr):
                raise WeightsError("the network's output is not finite: its weights are damaged, or not meant for this")
            return sr.clamp(0, 1)
        del trouble  # its traceback holds the tensors that there is no room for
        self._step_down(max(lr.shape[-2:]))
        raise TileTooLarge

    def _run(self, lr: Tensor, dtype: torch.dtype) -> Tensor:
        run = self._ready(self.device, dtype)
        lr = lr.to(device=self.device)
        sr = (_mean_over_symmetries(run, lr) if self.ensemble else run(lr)).float().cpu()
        if sr.nbytes > _LARGE:
            release_freed_memory()
        return sr

    def _ready(self, device: torch.device, dtype: torch.dtype) -> "InferenceForm":
        if (device, dtype) not in self._prepared:
            self._prepared[device, dtype] = InferenceForm(self.network, device=device, dtype=dtype)
        return self._prepared[device, dtype]

    def _step_down(self, seen: int) -> None:
        """Less at a time; at the end, another device."""
        _empty_cache(self.device)
        shown = min(max(self.tile), seen) if self.tile else seen
        smaller = shown // 2
        if smaller >= max(_SMALLEST, self.geometry.smallest):
            self._limit = smaller
            self.tile = (smaller, smaller)
            self.on_step_down(f"not enough memory on {self.device}: tiles of {smaller} × {smaller} from now on")
        elif self.device.type != "cpu":
            self.on_step_down(f"not enough memory on {self.device} even for tiles of {shown} × {shown}: on the CPU now")
            self.device, self.dtype = torch.device("cpu"), torch.float32
            self._prepared.clear()
        else:
            raise DeviceError(
                f"not enough memory even for tiles of {shown} × {shown} pixels; end other programs, or take a smaller "
                "network"
            )

    def _fitting(self, height: int, width: int) -> tuple[int, int] | None:
        """The size of tiles, or of strips; ``None`` if the image fits into the budget as it is.

        Tiles of networks with a wide halo may take twice the budget, then four times, until the halo costs little;
        where it would cost something, an image that fits whole into that is not cut.
        """
        tile = self._within(BUDGET, height, width)
        if tile is None:
            return None
        strip = self._strip(height, width)
        if strip:
            return strip
        for times in (_TIMES // 2, _TIMES):
            if tile is None or self._cost(tile, height, width) <= _CHEAP:
                break
            larger = self._within(times * BUDGET, height, width)
            if larger is None or self._cost(tile, height, width) > _DEAR:
                tile = larger
        return tile

    def _strip(self, height: int, width: int) -> tuple[int, int] | None:
        """The tallest strips of equal height that fit into the budget, or a multiple; nothing if there are none."""
        if self.ensemble or not self.network.streams or (self._limit or width) < width:
            return None
        margin = self._margin
        for times in (1, _TIMES // 2, _TIMES):
            fits = self._fits(width, round(times * BUDGET / _WAITING))
            for count in range(2, height // self._shortest + 1):
                rows = -(-height // count)
                if fits(rows - margin, width - margin):  # nothing is shown but itself
                    return rows, width
        return None

    @property
    def _shortest(self) -> int:
        """Rows of the shortest strip: some are left to each layer when those before it have taken theirs."""
        return 2 * self.geometry.halo + _ROWS

    def _within(self, budget: int, height: int, width: int) -> tuple[int, int] | None:
        largest = min(_LARGEST, self._limit or _LARGEST)
        if max(height, width) <= min(largest, _PROBE):
            return None
        fits = self._fits(width, budget)
        margin = self._margin
        if max(height, width) <= largest and fits(height - margin, width - margin):  # nothing is shown but itself
            return None
        smallest = max(_SMALLEST, self.geometry.smallest)
        sides = range(smallest, largest + 1, 16)
        shapes = [(h, w) for h in sides for w in sides if fits(h, w)] or [(smallest, smallest)]
        return min(shapes, key=lambda tile: self._cost(tile, height, width))

    def _fits(self, width: int, budget: int) -> Callable[[int, int], bool]:
        """Whether there is memory for a tile of some height and width, in an image of that width."""
        free = devices.free_memory(self.device)
        share = budget if free is None else _SHARE * free
        if self.device.type == "cpu":
            return lambda h, w: self.network_memory(h, w) + self.strip_memory(h, width) <= min(share, budget)
        return lambda h, w: self.network_memory(h, w) <= share and self.strip_memory(h, width) <= budget

    def network_memory(self, tile_height: int, tile_width: int) -> int:
        """About how many bytes of the device's memory a tile of that size takes."""
        height, width = tile_height + self._margin, tile_width + self._margin
        known = self.network.memory(height, width, itemsize=self.dtype.itemsize)
        if known is not None:
            return known * (2 if self.ensemble else 1)
        return round(self.bytes_per_pixel * self.dtype.itemsize / torch.float32.itemsize * height * width)

    def strip_memory(self, tile_height: int, width: int) -> int:
        """How many bytes of the machine's memory the result of a row of tiles takes."""
        return 12 * self.geometry.scale**2 * tile_height * width

    def _cost(self, tile: tuple[int, int], height: int, width: int) -> float:
        """What the network sees, over what there is; the halo ends where the image does."""
        rows, columns = -(-height // tile[0]), -(-width // tile[1])
        return (1 + self._margin * (rows - 1) / height) * (1 + self._margin * (columns - 1) / width)

    @property
    def _margin(self) -> int:
        """What a tile is shown beyond what it keeps, both sides together."""
        return 2 * (self.geometry.halo + self.geometry.blend)

    @cached_property
    def bytes_per_pixel(self) -> float:
        """Memory that the network takes for an LR pixel in float32, estimated from its layers' inputs and outputs."""
        largest = 0

        def weigh(_: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            nonlocal largest
            tensors = [each for each in (*inputs, output) if isinstance(each, Tensor)]
            largest = max(largest, sum(each.numel() * each.element_size() for each in tensors))

        network = self.network
        leaves = [module for module in network.modules() if not any(True for _ in module.children())]
        hooks = [leaf.register_forward_hook(weigh) for leaf in leaves]
        parameter = next(network.parameters())
        try:
            with torch.no_grad():
                network(torch.rand(1, 3, _PROBE, _PROBE).to(parameter))
        finally:
            for hook in hooks:
                hook.remove()
        return _ESTIMATE * largest / _PROBE**2 * (2 if self.ensemble else 1)


class InferenceForm:
    """The network as it runs fastest: a copy on the device, in the dtype and the memory layout that suit it."""

    def __init__(self, network: Network, *, device: torch.device, dtype: torch.dtype) -> None:
        fused = network.fuse(matrix_units=devices.has_matrix_units(device, dtype))
        fast = copy.deepcopy(fused).eval().requires_grad_(False).to(device=device, dtype=dtype)
        for name in getattr(fused, "keep_in_float32", ()):
            setattr(fast, name, getattr(fused, name).to(device=device, dtype=torch.float32))
            dtype = torch.float32
        fast.to(memory_format=_LAYOUT)
        for layer in fast.modules():
            if isinstance(layer, FusedConv):
                layer.pack()
        self.network, self._dtype = fast, dtype

    def __call__(self, lr: Tensor) -> Tensor:
        """A float32 image on the device → its enlargement."""
        return self.network(self._prepared(lr))  # type: ignore[no-any-return]

    def stream(self) -> Stream:
        """The same over one image that comes in strips; for those networks only that can, see `Runner.streams`."""
        run: Stream = self.network.stream()  # type: ignore[operator]
        return lambda lr, last: run(self._prepared(lr), last)

    def _prepared(self, lr: Tensor) -> Tensor:
        return lr.to(self._dtype).contiguous(memory_format=_LAYOUT)


def _empty_cache(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


def _mean_over_symmetries(run: Callable[[Tensor], Tensor], lr: Tensor) -> Tensor:
    """The mean over the square's eight symmetries, each undone after the run."""
    total = run(lr).float().clone()
    for symmetry in range(1, dihedral.COUNT):
        total += dihedral.inverse_transform(run(dihedral.transform(lr, symmetry)).float(), symmetry)
    return total / dihedral.COUNT


def _finite(values: Tensor) -> bool:
    return bool(values.sum().isfinite())


def _is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed: CUDA has a class for it, the CPU (two libraries of it) and MPS only a text."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return any(sign in str(error) for sign in ("can't allocate memory", "out of memory", "could not create a "))
