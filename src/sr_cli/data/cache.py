"""A cache of decoded photos, shared by the processes that load data."""

import mmap
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


class PixelCache:
    """Keeps decoded photos up to a budget, in memory that forked processes share.

    Every photo that fits has a fixed place, so there is no lock: two processes that decode the same photo at the same
    time write the same bytes to the same place. Memory is only used once it is written to.

    Args:
        sizes: bytes of each decoded photo; the first ones that fit are kept.
        budget: bytes.
    """

    def __init__(self, sizes: Sequence[int], budget: int) -> None:
        self._places: dict[int, int] = {}
        self.bytes = 0
        for index, size in enumerate(sizes):
            if self.bytes + size <= budget:
                self._places[index] = self.bytes
                self.bytes += size
        self._memory = mmap.mmap(-1, max(1, self.bytes))
        self._shapes = np.frombuffer(mmap.mmap(-1, 8 * max(1, len(sizes))), np.int64)

    def __len__(self) -> int:
        """The number of photos that fit."""
        return len(self._places)

    def get(self, index: int) -> NDArray[np.uint8] | None:
        """``(H, W, 3)`` of a photo, without a copy; ``None`` if it hasn't been put in."""
        height, width = divmod(int(self._shapes[index]), 1 << 32)
        return self._view(index, height, width) if height else None

    def put(self, index: int, pixels: NDArray[np.uint8]) -> None:
        """Keep ``(H, W, 3)``, if the photo has a place."""
        height, width, _ = pixels.shape
        if index in self._places:
            self._view(index, height, width)[:] = pixels
            # After the pixels: a process that sees the shape sees them too.
            self._shapes[index] = (height << 32) + width

    def _view(self, index: int, height: int, width: int) -> NDArray[np.uint8]:
        flat = np.frombuffer(self._memory, np.uint8, count=height * width * 3, offset=self._places[index])
        return flat.reshape(height, width, 3)
