"""A share of a batch, for one of several processes or machines."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Shard:
    """The ``index``-th of ``count`` shares, from 1 on."""

    index: int = 1
    count: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.index <= self.count:
            raise ValueError(f"shard {self.index}/{self.count} makes no sense: the first is 1, the last {self.count}")

    def of(self, items: Sequence[T]) -> Sequence[T]:
        """Every ``count``-th item: neighbours in a folder are often alike in size, so shares are too."""
        return items[self.index - 1 :: self.count]

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


def read_shard(text: str) -> Shard:
    """Read ``3/16``.

    Raises:
        ValueError: it isn't of that form.
    """
    match = re.fullmatch(r"(\d+)/(\d+)", text.strip())
    if not match:
        raise ValueError(f"{text!r} is no shard; write it like 3/16")
    return Shard(int(match[1]), int(match[2]))


def torchrun_shard(environment: Mapping[str, str] = os.environ) -> Shard | None:
    """The share of this process among those that torchrun has started; ``None`` outside of torchrun."""
    try:
        return Shard(int(environment["RANK"]) + 1, int(environment["WORLD_SIZE"]))
    except (KeyError, ValueError):
        return None


def torchrun_device(environment: Mapping[str, str] = os.environ) -> int:
    """The number of this process among those on the same machine: the index of its GPU."""
    return int(environment.get("LOCAL_RANK", 0))


def wait_for_the_others(environment: Mapping[str, str] = os.environ) -> None:
    """Under torchrun: return when all processes have come here. It ends them all as soon as one ends with an error."""
    if (
        "MASTER_ADDR" not in environment
        or environment.get("MASTER_PORT") == "0"
        or (torchrun_shard(environment) or Shard()).count == 1
    ):
        return
    import torch.distributed as dist

    dist.init_process_group("gloo", timeout=timedelta(days=30))
    dist.barrier()
    dist.destroy_process_group()
