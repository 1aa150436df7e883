"""Resizing a picture while its rows come in, with the same result as if it were there as a whole."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Taps:
    """Each value of a line as a weighted sum over another line.

    Attributes:
        index: ``(length, taps)``, positions in the line that is read.
        weight: ``(length, taps)``, float32; each row sums up to 1.
    """

    index: Tensor
    weight: Tensor

    def part(self, start: int, stop: int) -> "Taps":
        """The taps of the values from ``start`` to ``stop``."""
        return Taps(self.index[start:stop], self.weight[start:stop])

    @property
    def needs(self) -> slice:
        """The stretch of the line that is read."""
        return slice(int(self.index.min()), int(self.index.max()) + 1)

    def apply(self, values: Tensor, *, dim: int, first: int = 0) -> Tensor:
        """The sums along a dimension of ``values``, which begin at position ``first`` of the line that is read."""
        result: Tensor | None = None
        for index, weight in zip(self.index.T, self.weight.T, strict=True):
            term = values.index_select(dim, index - first) * weight.view(-1, *[1] * (-dim - 1))
            result = term if result is None else result.add_(term)
        assert result is not None
        return result


def cubic_taps(length: int, wanted: int) -> Taps:
    """The taps that resize a line from ``length`` to ``wanted``: bicubic with a = −0.5, antialiased when it shrinks.

    The ends of the line are repeated.

    Source: Keys 1981; MATLAB's ``imresize`` for antialiasing.
    """
    ratio = length / wanted
    stretch = max(1.0, ratio)
    centers = (torch.arange(wanted, dtype=torch.float64) + 0.5) * ratio - 0.5
    first = (centers - 2 * stretch).floor().long()
    positions = first[:, None] + torch.arange(math.ceil(4 * stretch) + 2)
    x = ((positions - centers[:, None]) / stretch).abs()
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    weights = torch.where(x <= 1, near, torch.where(x < 2, far, torch.zeros_like(x)))
    used = (weights != 0).any(0)
    return Taps(positions[:, used].clamp(0, length - 1), _normalised(weights[:, used]))


def gaussian_taps(length: int, sigma: float) -> Taps:
    """The taps that blur a line by a Gaussian, cut at three standard deviations.

    The line is mirrored at its ends, so that every value counts as often as any other, and the mean stays as it is.
    """
    radius = math.ceil(3 * sigma)
    offsets = torch.arange(-radius, radius + 1)
    weights = torch.exp(-0.5 * (offsets.double() / sigma) ** 2)
    positions = mirrored(torch.arange(length)[:, None] + offsets, length)
    return Taps(positions, _normalised(weights.expand(length, -1)))


def _normalised(weights: Tensor) -> Tensor:
    return (weights / weights.sum(1, keepdim=True)).float()


def mirrored(positions: Tensor, length: int) -> Tensor:
    """Positions on a line that is mirrored at its ends, again and again, as positions on the line itself."""
    positions = positions % (2 * length)
    return torch.minimum(positions, 2 * length - 1 - positions)


def resized_strips(strips: Iterable[Tensor], shape: tuple[int, int], wanted: tuple[int, int]) -> Iterator[Tensor]:
    """Resize a picture that comes in strips of rows.

    Args:
        strips: ``(N, C, h, W)``, from top to bottom.
        shape: height and width of the picture that comes in.
        wanted: height and width of the picture that goes out.

    Yields:
        Strips of it. The kernel overshoots: values may leave the range of what comes in.
    """
    if shape == wanted:
        yield from strips
        return
    across, down = (cubic_taps(length, new) for length, new in zip(shape[::-1], wanted[::-1], strict=True))
    last_needed = down.index.amax(1).cummax(0).values
    first_needed = down.index.amin(1).flip(0).cummin(0).values.flip(0)
    buffer: Tensor | None = None
    top = done = 0  # the buffer's first row, and the rows that have gone out
    for strip in strips:
        narrow = across.apply(strip, dim=-1)
        buffer = narrow if buffer is None else torch.cat([buffer, narrow], dim=-2)
        ready = int(torch.searchsorted(last_needed, top + buffer.shape[-2]))
        if ready > done:
            yield down.part(done, ready).apply(buffer, dim=-2, first=top)
            done = ready
            if done < wanted[0]:
                passed = int(first_needed[done]) - top
                buffer, top = buffer[..., passed:, :].clone(), top + passed
