"""Several processes that share a training: who they are, and how they agree. PyTorch's own engine does the work."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from sr_cli.errors import DeviceError, TrainingError

T = TypeVar("T")

PATIENCE = timedelta(minutes=10)
"""How long a process waits for the others before it gives up."""


@dataclass(frozen=True)
class Group:
    """The processes of a training, as one of them sees it. Alone, it is the only one.

    Attributes:
        rank: number of this process, from 0; the first one writes and shows.
        size: how many there are.
        local_size: how many of them are on this machine.
    """

    rank: int = 0
    size: int = 1
    local_size: int = 1

    @property
    def writes(self) -> bool:
        return self.rank == 0

    def mean(self, values: list[float]) -> list[float]:
        """Each value's mean over the processes; every process gets the same, bit for bit."""
        if self.size == 1:
            return values
        total = torch.tensor(values, dtype=torch.float64)
        with _named_loss():
            dist.all_reduce(total)
        means: list[float] = (total / self.size).tolist()
        return means

    def gather(self, thing: T) -> list[T]:
        """What each process gives, in the order of their ranks."""
        if self.size == 1:
            return [thing]
        things: list[Any] = [None] * self.size
        with _named_loss():
            dist.all_gather_object(things, thing)
        return things

    def broadcast(self, thing: T | None) -> T:
        """What the first process gives."""
        if self.size == 1:
            assert thing is not None
            return thing
        box = [thing]
        with _named_loss():
            dist.broadcast_object_list(box, src=0)
        return box[0]  # type: ignore[return-value]


ALONE = Group()


def rank() -> int:
    """The number that ``torchrun`` gave this process; 0 without it. Known before the processes have met."""
    return int(os.environ.get("RANK", "0"))


def launched() -> bool:
    """Whether ``torchrun`` started this process."""
    return all(name in os.environ for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR"))


def own_device(device: torch.device) -> torch.device:
    """The device of this process, where every process of a machine takes one of its own kind.

    Raises:
        DeviceError: there are more processes than GPUs.
    """
    index = int(os.environ.get("LOCAL_RANK", "0"))
    if device.type != "cuda" or not launched():
        return device
    if index >= torch.cuda.device_count():
        raise DeviceError(f"process {index} of this machine has no GPU: there are {torch.cuda.device_count()}")
    return torch.device("cuda", index)


@contextmanager
def joined(device: torch.device) -> Iterator[Group]:
    """Meet the other processes, if ``torchrun`` started any.

    Raises:
        TrainingError: they didn't come.
    """
    if not launched():
        yield ALONE
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    try:
        # Values that decide what happens next are on the CPU: gloo carries them, NCCL the gradients.
        dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
    except (RuntimeError, ValueError) as error:
        raise TrainingError(f"the processes of this training could not meet ({_first_line(error)})") from error
    try:
        yield Group(dist.get_rank(), dist.get_world_size(), int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    finally:
        dist.destroy_process_group()


def is_lost_peer(error: BaseException) -> bool:
    """Whether an error says that another process of the group is gone."""
    signs = ("Connection closed", "Connection reset", "Broken pipe", "Timed out waiting", "remote process exited")
    return isinstance(error, dist.DistError) or any(sign in str(error) for sign in signs)


class _SumOverProcesses(torch.autograd.Function):
    """The sum of every process's tensor, in every process. Each of them depends on it, so gradients add up too."""

    @staticmethod
    def forward(_, tensor: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
        total = tensor.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(_, gradient: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
        total = gradient.clone()
        dist.all_reduce(total)
        return total


class SynchronizedBatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation by the statistics of all processes' batches, on any device.

    With it, the gradients of several processes are those of one on the joined batch. On a GPU
    ``nn.SyncBatchNorm`` does the same, faster; it has no form for the CPU.
    """

    def forward(self, features: Tensor) -> Tensor:
        if not self.training:
            return super().forward(features)
        size = dist.get_world_size()
        mean = _sum(features.mean((0, 2, 3))) / size
        centred = features - mean[:, None, None]
        variance = _sum(centred.square().mean((0, 2, 3))) / size
        self._remember(mean.detach(), variance.detach(), count=size * features.numel() // features.shape[1])
        factor = self.weight * (variance + self.eps).rsqrt()
        normalised: Tensor = centred * factor[:, None, None] + self.bias[:, None, None]
        return normalised

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor, *, count: int) -> None:
        assert self.running_mean is not None and self.running_var is not None and self.momentum is not None
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * count / (count - 1), self.momentum)
        if self.num_batches_tracked is not None:
            self.num_batches_tracked += 1


def _sum(tensor: Tensor) -> Tensor:
    total: Tensor = _SumOverProcesses.apply(tensor)
    return total


def synchronize_batch_norm(network: nn.Module, device: torch.device) -> None:
    """Let every batch normalisation of a network see the batches of all processes; keys and values stay."""
    for name, module in list(network.named_modules()):
        if not isinstance(module, nn.BatchNorm2d):
            continue
        if device.type == "cuda":
            shared: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(module)  # type: ignore[no-untyped-call]
        else:
            shared = SynchronizedBatchNorm2d(module.num_features, eps=module.eps, momentum=module.momentum)
            shared.load_state_dict(module.state_dict())
        parent, _, own = name.rpartition(".")
        setattr(network.get_submodule(parent), own, shared)


@contextmanager
def _named_loss() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise TrainingError(f"another process of this training has ended ({_first_line(error)})") from error


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
