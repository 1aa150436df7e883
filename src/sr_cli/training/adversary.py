"""The other side of an adversarial training: a discriminator, its optimizer, and the loss that it gives the network."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional as F

from sr_cli.config import TrainConfig
from sr_cli.losses.discriminators import DISCRIMINATORS
from sr_cli.system.distributed import Group

_WON = 0.98  # the share of pixels judged right from which on a discriminator teaches little
_MEMORY = 0.99  # of the moving average of its judgments


class Adversary:
    """A discriminator that learns to tell SR from HR while the network learns to fool it.

    Both steps use the discriminator as it was before the step. Its state belongs to the training's, and no weights file
    has it.

    Args:
        group: the processes that train together; they average the gradient.

    Source: Goodfellow et al. 2014 (arXiv 1406.2661) with the network's loss that doesn't saturate; per pixel as in
    Wang et al. 2021 (arXiv 2107.10833), section 3.3.
    """

    def __init__(
        self,
        config: TrainConfig,
        device: torch.device,
        autocast: Callable[[], AbstractContextManager[Any]],
        group: Group,
    ) -> None:
        self.config, self.autocast, self.group = config, autocast, group
        self.network = DISCRIMINATORS[config.discriminator](config.discriminator_width)
        self.network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=config.discriminator_lr, betas=(0.9, 0.99))
        self.scaler = torch.amp.GradScaler(device.type, enabled=config.precision == "float16")
        self.steps, self.remarked = 0, False
        # Moving average of the share of pixels that it is right about, in SR or HR, whichever is less.
        self.judged_right = 0.5

    @property
    def active(self) -> bool:
        """Whether the training is past ``adversarial_start``."""
        return self.steps >= self.config.adversarial_start

    def loss(self, sr: Tensor) -> Tensor:
        """How far SR is from passing for HR: the mean of −ln D; 0 until `active`. The discriminator has no gradient."""
        if not self.active:
            return sr.new_zeros((), dtype=torch.float32)
        self.network.requires_grad_(False)
        logits = self.network(sr)
        self.network.requires_grad_(True)
        return F.softplus(-logits.float()).mean()

    def learn(self, sr: Tensor, hr: Tensor) -> dict[str, Tensor]:
        """Compute the gradient of the discriminator; `update` applies it.

        Args:
            sr: ``(N, 3, H, W)``; no gradient flows through it.
            hr: the same shape.

        Returns:
            The discriminator's loss, and its mean logits for SR and HR.
        """
        if not self.active:
            return dict.fromkeys(("discriminator", "logit_sr", "logit_hr"), sr.new_zeros((), dtype=torch.float32))
        self.optimizer.zero_grad()
        with self.autocast():
            fake, real = self.network(torch.cat([sr.detach().to(hr.dtype), hr])).float().chunk(2)
        loss = (F.softplus(fake).mean() + F.softplus(-real).mean()) / 2
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self._right = torch.stack([(fake < 0).float().mean(), (real > 0).float().mean()]).min()
        if self.group.size > 1:  # or the discriminators would become different ones
            gradient = [each.grad for each in self.network.parameters() if each.grad is not None]
            for value in (*gradient, self._right):
                dist.all_reduce(value)
                value.div_(self.group.size)
        return {"discriminator": loss.detach(), "logit_sr": fake.mean().detach(), "logit_hr": real.mean().detach()}

    def update(self, factor: float) -> None:
        """Update the discriminator, if `active`, at its learning rate times ``factor``, and count the step."""
        if self.active:
            for group in self.optimizer.param_groups:
                group["lr"] = self.config.discriminator_lr * factor
            self.scaler.step(self.optimizer)
            self.scaler.update()
            self.judged_right = _MEMORY * self.judged_right + (1 - _MEMORY) * float(self._right)
        self.steps += 1

    def remark(self) -> str | None:
        """What the user should know, once: that the discriminator has won."""
        if self.judged_right < _WON or self.remarked:
            return None
        self.remarked = True
        return (
            f"the discriminator has won: it is right about {self.judged_right:.0%} of the pixels, and the adversarial "
            "term teaches little; lower --discriminator-lr, or start from better weights"
        )

    def state(self) -> dict[str, Any]:
        """Everything that later steps depend on, for `restore`."""
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "steps": self.steps,
            "judged_right": self.judged_right,
            "remarked": self.remarked,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Return to what `state` returned."""
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.steps, self.judged_right, self.remarked = state["steps"], state["judged_right"], state["remarked"]
