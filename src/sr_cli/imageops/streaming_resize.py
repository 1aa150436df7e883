"""Resizing a picture strip by strip, as its rows arrive, with the same result as resizing it in one piece."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from sr_cli.imageops.gaussian import gaussian_weights


@dataclass(frozen=True)
class ResampleWeights:
    """How each value of an output line is a weighted sum of values of an input line.

    Attributes:
        index: ``(length, taps)``, positions in the input line.
        weight: ``(length, taps)``, float32; each row sums up to 1.
    """

    index: Tensor
    weight: Tensor

    def part(self, start: int, stop: int) -> "ResampleWeights":
        """The weights for the output values from ``start`` to ``stop``."""
        return ResampleWeights(self.index[start:stop], self.weight[start:stop])

    @property
    def needs(self) -> slice:
        """The stretch of the input line that is read."""
        return slice(int(self.index.min()), int(self.index.max()) + 1)

    def apply(self, values: Tensor, *, dim: int, first: int = 0) -> Tensor:
        """The weighted sums along ``dim``; ``values`` starts at position ``first`` of the input line."""
        result: Tensor | None = None
        for index, weight in zip(self.index.T, self.weight.T, strict=True):
            term = values.index_select(dim, index - first) * weight.view(-1, *[1] * (-dim - 1))
            result = term if result is None else result.add_(term)
        assert result is not None
        return result


def bicubic_weights(length: int, wanted: int) -> ResampleWeights:
    """Resize a line from ``length`` to ``wanted``: bicubic with a = −0.5, antialiased if it shrinks; ends are repeated.

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
    weights = weights[:, used]
    return ResampleWeights(positions[:, used].clamp(0, length - 1), (weights / weights.sum(1, keepdim=True)).float())


def blur_weights(length: int, sigma: float) -> ResampleWeights:
    """Blur a line by a Gaussian cut off at 3 σ; its ends are mirrored, so that its mean stays as it is."""
    weights = gaussian_weights(sigma, radius=math.ceil(3 * sigma)).float()
    offsets = torch.arange(len(weights)) - len(weights) // 2
    positions = mirrored(torch.arange(length)[:, None] + offsets, length)
    return ResampleWeights(positions, weights.expand(length, -1))


def mirrored(positions: Tensor, length: int) -> Tensor:
    """Positions on a line that goes on mirrored beyond its ends, as positions on the line itself."""
    positions = positions % (2 * length)
    return torch.minimum(positions, 2 * length - 1 - positions)


def resize_strips(strips: Iterable[Tensor], shape: tuple[int, int], wanted: tuple[int, int]) -> Iterator[Tensor]:
    """Resize a picture that arrives in strips of rows, bicubically.

    Args:
        strips: ``(N, C, h, W)``, from top to bottom.
        shape: height and width of the picture that arrives.
        wanted: height and width of the result.

    Yields:
        Strips of the result. The kernel overshoots: values may leave the range of the input.
    """
    if shape == wanted:
        yield from strips
        return
    across, down = (bicubic_weights(length, new) for length, new in zip(shape[::-1], wanted[::-1], strict=True))
    last_needed = down.index.amax(1).cummax(0).values
    first_needed = down.index.amin(1).flip(0).cummin(0).values.flip(0)
    buffer: Tensor | None = None
    top = done = 0  # the buffer's first row, and the number of rows yielded
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
