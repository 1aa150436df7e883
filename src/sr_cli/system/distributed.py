"""Several processes that work together, started by ``torchrun``: who they are, and how they agree."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import nn

from sr_cli.errors import DeviceError, TrainingError, first_line

T = TypeVar("T")

TIMEOUT = timedelta(minutes=10)
"""How long a process waits for the others before it gives up."""


@dataclass(frozen=True)
class Group:
    """The processes of a training, as one of them sees it. The default is a process on its own.

    Attributes:
        rank: number of this process, from 0; the first one writes files and shows progress.
        size: number of processes.
        local_size: number of processes on this machine.
    """

    rank: int = 0
    size: int = 1
    local_size: int = 1

    @property
    def writes(self) -> bool:
        return self.rank == 0

    def mean(self, values: list[float]) -> list[float]:
        """Each value's mean over the processes; the same in all of them, bit for bit."""
        if self.size == 1:
            return values
        total = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(total)
        means: list[float] = (total / self.size).tolist()
        return means

    def gather(self, thing: T) -> list[T]:
        """What each process passes, in the order of their ranks."""
        if self.size == 1:
            return [thing]
        things: list[Any] = [None] * self.size
        dist.all_gather_object(things, thing)
        return things

    def broadcast(self, thing: T | None) -> T:
        """What the first process passes."""
        if self.size == 1:
            assert thing is not None
            return thing
        box = [thing]
        dist.broadcast_object_list(box, src=0)
        return box[0]  # type: ignore[return-value]

    @contextmanager
    def watch(self, hint: str) -> Iterator[None]:
        """Turn PyTorch's errors about a process that is gone into a `TrainingError` that ends with the hint."""
        try:
            yield
        except RuntimeError as error:
            signs = "gloo|Connection closed|Connection reset|Broken pipe|Timed out waiting|remote process exited"
            is_lost_peer = isinstance(error, dist.DistError) or re.search(signs, str(error))
            if self.size == 1 or not is_lost_peer:
                raise
            raise TrainingError(f"another process of this training has ended ({first_line(error)}); {hint}") from error


ALONE = Group()


def under_torchrun() -> bool:
    """Whether ``torchrun`` started this process."""
    return all(name in os.environ for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR"))


def is_first_to_say(message: str) -> bool:
    """Whether no other process that ``torchrun`` started has asked the same: most errors meet all of them."""
    if under_torchrun() and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        with suppress(RuntimeError, ValueError):  # the store is gone; better twice than not at all
            address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
            limit = timedelta(seconds=10)
            store = dist.TCPStore(address, port, is_master=False, timeout=limit)  # type: ignore[attr-defined]
            return bool(store.add(f"sr says {message}", 1) == 1)
    return True


def local_device(device: torch.device) -> torch.device:
    """The device of that kind that is for this process; a `DeviceError` if there are more processes than GPUs."""
    if device.type != "cuda" or not under_torchrun():
        return device
    index = int(os.environ.get("LOCAL_RANK", "0"))
    if index >= torch.cuda.device_count():
        raise DeviceError(f"process {index} of this machine has no GPU: there are {torch.cuda.device_count()}")
    return torch.device("cuda", index)


def process_share() -> tuple[int, int] | None:
    """This process's share of a batch under ``torchrun``: its number, from 1, and how many there are."""
    try:
        return int(os.environ["RANK"]) + 1, int(os.environ["WORLD_SIZE"])
    except (KeyError, ValueError):
        return None


def spread_over_gpus(device: str) -> str:
    """In place of ``auto``, the device of this process where ``torchrun`` started several on a machine with GPUs."""
    if device != "auto" or process_share() is None or not torch.cuda.is_available():
        return device
    return f"cuda:{int(os.environ.get('LOCAL_RANK', '0')) % torch.cuda.device_count()}"


def wait_for_all() -> None:
    """Under ``torchrun``, return when all processes have come here: it ends them all once one of them fails."""
    _, count = process_share() or (1, 1)
    if count > 1 and "MASTER_ADDR" in os.environ and os.environ.get("MASTER_PORT") != "0":
        dist.init_process_group("gloo", timeout=timedelta(days=30))
        dist.barrier()
        dist.destroy_process_group()


@contextmanager
def join_group(device: torch.device) -> Iterator[Group]:
    """Connect to the other processes, if ``torchrun`` started any; a `TrainingError` if they cannot be reached."""
    if not under_torchrun():
        yield ALONE
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    try:
        # Losses and decisions are on the CPU: gloo carries them, NCCL the gradients.
        dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo", timeout=TIMEOUT)
    except (RuntimeError, ValueError) as error:
        raise TrainingError(f"the processes of this training cannot connect ({first_line(error)})") from error
    try:
        yield Group(dist.get_rank(), dist.get_world_size(), int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    finally:
        dist.destroy_process_group()


def synchronize_batch_norm(network: nn.Module, device: torch.device) -> None:
    """Let the batch normalizations of a network use the batches of all processes; its state keeps its keys.

    Raises:
        TrainingError: the device isn't a GPU; PyTorch has no synchronized batch normalization for others.
    """
    if not any(isinstance(module, nn.BatchNorm2d) for module in network.modules()):
        return
    if device.type != "cuda":
        raise TrainingError(f"several processes on {device} cannot train with --batch-norm batch; use frozen")
    nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
