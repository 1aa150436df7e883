"""Batches of pairs, loaded ahead by worker processes if wanted."""

import atexit
import multiprocessing
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from sr_cli.data.pairs import Pair, TrainingPairs
from sr_cli.errors import ImageError, TrainingError


class Batch(NamedTuple):
    """The pairs of a step, or of one process's part of it.

    Attributes:
        hr: ``(M, 3, H, W)`` in [0, 1], for the first M of the LR patches.
        lr: ``(N, 3, H / scale, W / scale)`` in [0, 1].
        damaged: photos that could not be decoded, each with the reason.
        error: why there is no batch; its tensors are empty then. An exception from another process would arrive as
            the text of a traceback.
    """

    hr: Tensor
    lr: Tensor
    paths: list[Path]
    damaged: list[tuple[Path, str]]
    error: str | None = None


class Batches(Dataset[Batch]):
    """The batches of a training, indexed by step from 0.

    Args:
        batch_size: pairs per step, over all processes.
        part: the part of each step that this process takes.
        parts: number of processes; ``batch_size`` must be a multiple of it.
        lr_only_share: the share of the pairs that have no HR, see `TrainingPairs.lr_only`; rounded down to whole pairs.
    """

    def __init__(
        self, pairs: TrainingPairs, *, batch_size: int, part: int = 0, parts: int = 1, lr_only_share: float = 0.0
    ) -> None:
        if batch_size % parts:
            raise ValueError(f"batch_size {batch_size} is not a multiple of the {parts} processes that share it")
        self.pairs, self.batch_size, self.part, self.parts = pairs, batch_size, part, parts
        self.lr_only = int(lr_only_share * (batch_size // parts))

    def pairs_of(self, step: int) -> list[Pair]:
        """The pairs of a step, HR empty where only LR is wanted; an `ImageError` if a photo has vanished."""
        size = self.batch_size // self.parts
        first = step * self.batch_size + self.part * size
        whole = range(first, first + size - self.lr_only)
        with _one_thread():
            return [*map(self.pairs.__getitem__, whole), *map(self.pairs.lr_only, range(whole.stop, first + size))]

    def __getitem__(self, step: int) -> Batch:
        try:
            pairs = self.pairs_of(step)
        except ImageError as error:
            return Batch(torch.empty(0), torch.empty(0), [], [], str(error))
        hr = [pair.hr for pair in pairs if pair.hr.numel()]
        return Batch(
            torch.stack(hr) if hr else torch.empty(0, 3, 0, 0),
            torch.stack([pair.lr for pair in pairs]),
            [pair.path for pair in pairs],
            [photo for pair in pairs for photo in pair.damaged],
        )


class Loader(Iterator[Batch]):
    """An endless sequence of batches. Call `start` before the first one and `close` after the last.

    Args:
        workers: processes that load ahead; 0 loads in this one, on demand.
        pin: put batches into pinned memory, from which a GPU copies while it computes.
    """

    def __init__(self, batches: Batches, *, workers: int = 0, pin: bool = False) -> None:
        self._dataset, self._workers, self._pin = batches, workers, pin
        self._batches: Iterator[Batch] | None = None

    def start(self, step: int) -> None:
        """Continue with the batch of this step."""
        self.close()
        if self._workers:
            _ = self._dataset.pairs.photos.cache  # before the fork, or the workers would not share it
        loader = DataLoader(
            self._dataset,
            batch_size=None,
            sampler=range(step, 2**62),
            num_workers=self._workers,
            pin_memory=self._pin,
            worker_init_fn=_ignore_signals,
            # A fork shares the cache of decoded photos; the CUDA context that it inherits is not used.
            multiprocessing_context=multiprocessing.get_context("fork") if self._workers else None,
        )
        with _without_child_handler():
            self._batches = iter(loader)
        # multiprocessing's own exit handler would block on workers that were never stopped.
        atexit.register(self.close)

    def close(self) -> None:
        """Stop the workers."""
        if self._batches is not None and hasattr(self._batches, "_shutdown_workers"):
            self._batches._shutdown_workers()
        self._batches = None
        atexit.unregister(self.close)

    def __next__(self) -> Batch:
        """The next batch.

        Raises:
            ImageError: a photo has vanished.
            TrainingError: a worker was killed.
        """
        if self._batches is None:
            raise StopIteration
        try:
            batch: Batch = next(self._batches)
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            raise TrainingError(
                "a process that loads photos was killed, most likely because memory ran out; "
                "use fewer --workers or a smaller --cache"
            ) from error
        if batch.error is not None:
            raise ImageError(batch.error)
        return batch


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let torch compute in this thread alone: sharing the work on a patch takes longer than the work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _without_child_handler() -> Iterator[None]:
    """Undo PyTorch's SIGCHLD handler, which raises in the middle of a step when a worker dies.

    The next wait for a batch of that worker notices its death anyway.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "SIGCHLD"):
        yield
        return
    before = signal.getsignal(signal.SIGCHLD)
    try:
        yield
    finally:
        signal.signal(signal.SIGCHLD, before)


def _ignore_signals(_: int) -> None:
    """Ctrl-C and schedulers signal every process of a job; only the trainer reacts."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
