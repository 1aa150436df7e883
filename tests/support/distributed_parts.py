"""What each process of ``test_distributed`` does; started by torchrun: ``distributed_parts.py WHAT FOLDER``."""

import os
import sys
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file

from sr_cli.config import TrainConfig
from sr_cli.data import Batch, Batches, TrainingPairs
from sr_cli.system import distributed
from sr_cli.system.distributed import ALONE, Group
from sr_cli.training.loop import train
from sr_cli.training.trainer import Trainer
from support.trainings import CPU, TINY, photos_in

CONFIGS = {
    "compact": replace(TINY, batch_size=4),
    "adversarial": replace(TINY, batch_size=4, loss="pixel:l1=1+adversarial=0.1", discriminator_width=4),
    "johnson": TrainConfig(
        arch="johnson", scale=2, crop_size=32, batch_size=4, loss="pixel", degradation="bicubic", batch_norm="frozen"
    ),
    "feature": TrainConfig(arch="compact", scale=2, width=8, depth=1, crop_size=32, batch_size=4, loss="johnson+pixel"),
}


def batch_for(config: TrainConfig, folder: Path, group: Group = ALONE) -> Batch:
    pairs = TrainingPairs(photos_in(folder / "photos"), scale=2, crop_size=32, degradation="bicubic")
    return Batches(pairs, batch_size=config.batch_size, part=group.rank, parts=group.size)[0]


def gradients(config: TrainConfig, folder: Path, group: Group = ALONE) -> dict[str, torch.Tensor]:
    """The gradient of every parameter, and the statistics that batch normalization has collected."""
    vgg = load_file(folder / "vgg.safetensors") if "johnson" in config.loss else None
    trainer = Trainer(config, CPU, group=group, vgg_state=vgg)
    trainer.learn(batch_for(config, folder, group))
    found = {name: parameter.grad for name, parameter in trainer.network.named_parameters()}
    if trainer.adversary:
        found |= {f"discriminator.{name}": each.grad for name, each in trainer.adversary.network.named_parameters()}
    return found | {name: buffer for name, buffer in trainer.network.named_buffers() if "running" in name}  # type: ignore[return-value]


def main() -> None:
    what, folder = sys.argv[1], Path(sys.argv[2])
    with distributed.join_group(CPU) as group:
        if what == "gradients":
            for name, config in CONFIGS.items():
                torch.save(gradients(config, folder, group), folder / f"{name}-{group.rank}.pt")
        elif what == "death":
            config = replace(TINY, batch_size=4, steps=100_000)
            for step in train(config, photos_in(folder / "photos"), CPU, run=folder / "run", group=group):
                if step.step == 3 and group.rank == 1:
                    os._exit(7)


if __name__ == "__main__":
    main()
