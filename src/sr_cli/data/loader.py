"""Batches, made ahead of time by worker processes where that is wanted."""

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

from sr_cli.data.pairs import TrainingPairs
from sr_cli.errors import ImageError, TrainingError


class Batch(NamedTuple):
    """What a step, or a process's part of one, learns from.

    Attributes:
        hr: ``(N, 3, H, W)`` in [0, 1].
        lr: ``(N, 3, H / scale, W / scale)`` in [0, 1].
        paths: the photos that the pairs are from.
        damaged: photos that could not be decoded, each with the reason.
        error: why there is no batch; its tensors are empty then. An exception that crosses processes would arrive as a
            traceback in words.
    """

    hr: Tensor
    lr: Tensor
    paths: list[Path]
    damaged: list[tuple[Path, str]]
    error: str | None = None


class Batches(Dataset[Batch]):
    """The batches of a training by the number of their step, from 0 on.

    Args:
        pairs: the sequence of pairs.
        batch_size: pairs a step, in all processes together.
        part: which part of each step this process takes.
        parts: how many processes share a step; ``batch_size`` is a multiple of it.
    """

    def __init__(self, pairs: TrainingPairs, *, batch_size: int, part: int = 0, parts: int = 1) -> None:
        if batch_size % parts:
            raise ValueError(f"batch_size {batch_size} is not a multiple of the {parts} processes that share it")
        self.pairs, self.batch_size, self.part, self.parts = pairs, batch_size, part, parts

    def __getitem__(self, step: int) -> Batch:
        size = self.batch_size // self.parts
        first = step * self.batch_size + self.part * size
        try:
            pairs = [self.pairs[i] for i in range(first, first + size)]
        except ImageError as error:
            return Batch(torch.empty(0), torch.empty(0), [], [], str(error))
        return Batch(
            torch.stack([pair.hr for pair in pairs]),
            torch.stack([pair.lr for pair in pairs]),
            [pair.path for pair in pairs],
            [photo for pair in pairs for photo in pair.damaged],
        )


class Loader(Iterator[Batch]):
    """The batches from a step on, without end.

    Args:
        batches: what to load.
        first: the step to begin with.
        workers: processes that load ahead; 0 loads in this one, when asked.
        pin: put batches into memory that a GPU can copy from while it computes.

    Close it at the end.
    """

    def __init__(self, batches: Batches, *, first: int, workers: int = 0, pin: bool = False) -> None:
        if workers:
            _ = batches.pairs.photos.cache  # before the fork: what is made after it isn't shared
        loader = DataLoader(
            batches,
            batch_size=None,
            sampler=range(first, 2**62),
            num_workers=workers,
            pin_memory=pin,
            worker_init_fn=_ignore_signals,
            # A fork shares the cache of decoded photos; it inherits no CUDA context that it would use.
            multiprocessing_context=multiprocessing.get_context("fork") if workers else None,
        )
        with _unheard_children():
            self._batches: Iterator[Batch] | None = iter(loader)
        # At the latest then: at its own exit multiprocessing would wait for workers that nobody has told to end.
        atexit.register(self.close)

    def close(self) -> None:
        """End the workers."""
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
                "a process that loads photos was killed, most often because memory ran out; "
                "take fewer --workers or a smaller --cache"
            ) from error
        if batch.error is not None:
            raise ImageError(batch.error)
        return batch


@contextmanager
def _unheard_children() -> Iterator[None]:
    """Keep PyTorch from hearing of a worker's death by a signal: its handler raises in the middle of a step.

    It is found out all the same by whoever waits for the worker's batch.
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
    """Ctrl-C reaches every process of the terminal, and schedulers signal all of a job: the trainer alone decides."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
