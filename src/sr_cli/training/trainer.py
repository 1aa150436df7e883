"""The trainer: a network, its moving average, the loss and the optimizers, and the step that updates them."""

import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

from sr_cli.config import TrainConfig
from sr_cli.data import Batch
from sr_cli.errors import DeviceError, TrainingError, UsageError, first_line, is_out_of_memory
from sr_cli.imageops import dihedral
from sr_cli.imageops.gaussian import gaussian_blur
from sr_cli.losses.parse import ADVERSARIAL, TEACHER, WeightedSum, parse_loss
from sr_cli.losses.pixel import self_ensemble_loss
from sr_cli.networks.base import Network, describe
from sr_cli.networks.checkpoint import load_network
from sr_cli.networks.registry import blamed, build, build_from_file, built_in, is_described_by_file
from sr_cli.system.device import dtype_for
from sr_cli.system.distributed import ALONE, Group, synchronize_batch_norm
from sr_cli.system.memory import memory
from sr_cli.system.quantities import megabytes
from sr_cli.training.adversary import Adversary
from sr_cli.training.muon import Muon
from sr_cli.training.teacher import Teacher


class NotFinite(ArithmeticError):  # noqa: N818
    """A term of the loss, or the gradient, is NaN or infinite; nothing was updated."""


class Trainer:
    """Trains a network, one step at a time.

    Args:
        vgg_state: weights of the loss network; needed for a loss with features.
        init: weights to start from; layers that they lack, or have in another shape, keep their fresh weights. A
            network that is `described_by_file` is built from it.
        group: the processes that train together.

    Raises:
        UsageError: the network doesn't come in that scale or shape, see `sr_cli.networks.registry.build`, or the loss
            doesn't fit the other settings.
        WeightsError: ``init`` or the teacher cannot be read.
        TrainingError: ``init`` is of another network, or the processes cannot train this network together.
        DeviceError: the device cannot compute in that precision.
    """

    def __init__(
        self,
        config: TrainConfig,
        device: torch.device,
        *,
        vgg_state: Mapping[str, Tensor] | None = None,
        init: Path | None = None,
        group: Group = ALONE,
    ) -> None:
        self.config, self.device, self.group = config, device, group
        patches = f"batches of {config.batch_size} patches of {config.crop_size}×{config.crop_size}"
        _check_fits(12 * config.batch_size * config.crop_size**2, patches, "a smaller --batch-size or --crop-size")
        self.autocast = _autocast(config, device)
        self.teacher = Teacher.load(config, device)  # before the seed: its network starts from random weights, too
        torch.manual_seed(config.seed)
        self.network = _network(config, init)
        by_batch = config.batch_norm == "batch"
        if group.size > 1 and by_batch:
            synchronize_batch_norm(self.network, device)
        self.network.to(device=device, memory_format=torch.channels_last).train(by_batch)  # type: ignore[call-overload]
        self.loss = _loss(config, vgg_state).to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._adversarial_weight = parse_loss(config.loss).get(ADVERSARIAL, {}).get(ADVERSARIAL, 0.0)
        self.adversary = Adversary(config, device, self.autocast, group) if self._adversarial_weight else None
        self.averaged = None
        if config.ema:
            self.averaged = AveragedModel(self.network, multi_avg_fn=_moving_average(config.ema), use_buffers=True)
        self.optimizers = _optimizers(config, self.network)
        self.scaler = torch.amp.GradScaler(device.type, enabled=config.precision == "float16")
        self._forward = self._parallel()

    @property
    def result(self) -> Network:
        """The network to save and validate: the moving average or, without one, the network itself."""
        return self.network if self.averaged is None else self.averaged.module  # type: ignore[return-value]

    def learn(self, batch: Batch) -> dict[str, float]:
        """Compute the loss of a batch and its gradient; `update` applies it.

        Returns:
            The weighted terms of this process's part of the batch, and what the discriminator's loss and mean logits
            are, if there is one; they may be NaN or infinite.

        Raises:
            DeviceError: memory ran out.
            TrainingError: the step could not be compiled.
        """
        try:
            return self._learn(batch)
        except (RuntimeError, MemoryError) as error:
            if is_out_of_memory(error):
                raise DeviceError(
                    f"{self.device}: not enough memory for {len(batch.paths)} patches of {self.config.crop_size} "
                    "pixels; use a smaller --batch-size or --crop-size, or --precision bfloat16"
                ) from error
            if self.config.compile and type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
                raise TrainingError(f"torch.compile failed ({first_line(error)}); train with --no-compile") from error
            raise

    def _learn(self, batch: Batch) -> dict[str, float]:
        hr, lr = (
            images.to(device=self.device, memory_format=torch.channels_last, non_blocking=True)
            for images in (batch.hr, batch.lr)
        )
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        taught = None if self.teacher is None else self.teacher(lr)
        wanted = sharpened(hr, self.config.sharpen_hr)
        with self.autocast():
            sr, terms = self._forward(lr, wanted, self._twin(lr), taught)
            judged = sr[: len(hr)]
            if self.adversary is not None:
                terms["adversarial"] = self._adversarial_weight * self.adversary.loss(judged)
        self.scaler.scale(torch.stack(list(terms.values())).sum()).backward()  # type: ignore[no-untyped-call]
        if self.adversary is not None:
            terms |= self.adversary.learn(judged, hr)
        values = torch.stack([term.detach() for term in terms.values()]).tolist()  # wait for the GPU only once
        return dict(zip(terms, values, strict=True))

    def update(self, lr: float) -> None:
        """Update the weights with the gradient that `learn` computed.

        Raises:
            NotFinite: the gradient is NaN or infinite (with float16 the scaler skips the step instead).
        """
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = lr * group.get("lr_factor", 1)
            self.scaler.unscale_(optimizer)
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), self.config.clip or math.inf)
        if not self.scaler.is_enabled() and not norm.isfinite():
            raise NotFinite(f"the gradient's norm is {norm.item()}")
        for optimizer in self.optimizers:
            self.scaler.step(optimizer)
        self.scaler.update()
        if self.adversary is not None:
            self.adversary.update(lr / self.config.lr)
        if self.averaged is not None:
            self.averaged.update_parameters(self.network)

    def state(self) -> dict[str, Any]:
        """Everything that later steps depend on, for `restore`."""
        return {
            "network": self.network.state_dict(),
            "averaged": None if self.averaged is None else self.averaged.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "scaler": self.scaler.state_dict(),
            "adversary": None if self.adversary is None else self.adversary.state(),
            "random": torch.get_rng_state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Return to what `state` returned; a `TrainingError` if that is of another network, or of other settings."""
        try:
            self.network.load_state_dict(state["network"])
            if self.averaged is not None:
                self.averaged.load_state_dict(state["averaged"])
            for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
                optimizer.load_state_dict(saved)
            self.scaler.load_state_dict(state["scaler"])
            if self.adversary is not None:
                self.adversary.restore(state["adversary"])
            torch.set_rng_state(state["random"])
        except Exception as error:  # whatever PyTorch makes of a damaged one
            raise TrainingError(f"the run's state doesn't fit its settings ({error})".splitlines()[0]) from error

    @torch.no_grad()
    def _twin(self, lr: Tensor) -> Tensor | None:
        """The moving average's SR for the flipped or rotated LR, transformed back; the transform changes every step."""
        if not self.config.self_ensemble_weight or self.averaged is None:
            return None
        kind = 1 + int(self.averaged.n_averaged) % (dihedral.COUNT - 1)
        transformed = dihedral.transform(lr, kind).contiguous(memory_format=torch.channels_last)
        return dihedral.inverse_transform(self.averaged.module.eval()(transformed), kind)

    def _parallel(self) -> Callable[..., tuple[Tensor, dict[str, Tensor]]]:
        """A function from LR, HR, `_twin` and the teacher's result to SR and the terms of the loss, compiled and
        synchronized between processes as needed."""
        network: nn.Module = self.network
        if self.group.size > 1:
            devices = [self.device.index] if self.device.type == "cuda" else None
            network = DistributedDataParallel(network, device_ids=devices)

        def forward(
            lr: Tensor, hr: Tensor, twin: Tensor | None, taught: Tensor | None
        ) -> tuple[Tensor, dict[str, Tensor]]:
            sr = network(lr)
            terms: dict[str, Tensor] = self.loss(sr, hr, taught)
            if twin is not None:
                n = len(hr)
                distance = self_ensemble_loss(sr[:n], twin[:n], hr)
                terms["self_ensemble"] = self.config.self_ensemble_weight * distance
            return sr, terms

        return torch.compile(forward) if self.config.compile else forward


def sharpened(hr: Tensor, amount: float) -> Tensor:
    """HR under an unsharp mask, as the distances of Real-ESRGAN see it (Wang et al. 2021, section 3.3).

    Args:
        hr: ``(N, 3, H, W)`` from 0 to 1.
        amount: of the difference to a blurred copy that is added.
    """
    return torch.clamp(hr + amount * (hr - gaussian_blur(hr, 1.5)), 0, 1) if amount else hr


def _optimizers(config: TrainConfig, network: Network) -> list[torch.optim.Optimizer]:
    """Adam, or Muon for the inner kernels and Adam for the rest; ``lr_factor`` scales a group's learning rate."""
    kernels, output = network.kernels_and_output()
    if config.optimizer != "muon":
        kernels = []
    grouped = {id(parameter) for parameter in (*kernels, *output)}
    others = [parameter for parameter in network.parameters() if id(parameter) not in grouped]
    groups: list[dict[str, Any]] = [{"params": others}, {"params": output, "lr_factor": config.output_lr}]
    adam = torch.optim.Adam(groups, lr=config.lr)
    return [adam, Muon(kernels, lr=config.lr)] if kernels else [adam]


def _network(config: TrainConfig, init: Path | None) -> Network:
    """The network that the training starts from."""
    if is_described_by_file(config.arch):
        if init is None:
            raise UsageError(f"--arch {config.arch} needs --init: a weights file of another project")
        network = build_from_file(config.arch, init)
        if network.scale != config.scale:
            raise UsageError(f"--init {init}: is for scale {network.scale}, not {config.scale}")
    else:
        shape: dict[str, Any] = {"scale": config.scale, "width": config.width, "depth": config.depth}
        if config.arch in built_in():
            with torch.device("meta"):
                parameters = sum(each.numel() for each in build(name=config.arch, **shape).parameters())
            # Weights, gradient, the optimizer's moments, in float32.
            _check_fits(16 * parameters, f"{config.arch} of {parameters:,} parameters", "a smaller --width or --depth")
        network = build(name=config.arch, **shape)
        with blamed(config.arch, "initialize()"):
            network.initialize(config.initialization)
        if init is not None:
            _start_from(network, init, arch=config.arch)
    if config.arch not in built_in() or is_described_by_file(config.arch):  # the others have tests
        network.check_trainable(config.crop_size // config.scale)
    return network


def _check_fits(size: int, what: str, remedy: str) -> None:
    if size > (total := memory().total):
        raise DeviceError(f"{what}: takes {megabytes(size)}, and this machine has {megabytes(total)}; use {remedy}")


def _start_from(network: Network, init: Path, *, arch: str) -> None:
    """Load the weights of a file, as far as their shapes match."""
    other, _ = load_network(init, arch=arch)
    with blamed(arch, "can_start_from()"):
        suits = network.can_start_from(other)
    if not suits:
        raise TrainingError(f"{init}: is of {describe(other)}, not of {describe(network)}")
    fresh = network.state_dict()
    fitting = {
        key: value for key, value in other.state_dict().items() if key in fresh and value.shape == fresh[key].shape
    }
    network.load_state_dict(fresh | fitting)


def _loss(config: TrainConfig, vgg_state: Mapping[str, Tensor] | None) -> WeightedSum:
    terms = parse_loss(config.loss)
    loss = WeightedSum(terms, scale=config.scale, vgg_state=vgg_state)
    least = max(loss.min_size, 32 if ADVERSARIAL in terms else 1)
    if config.crop_size < least:
        raise UsageError(f"--loss {config.loss} needs patches of {least} pixels or more, not {config.crop_size}")
    if (TEACHER in terms) != (config.teacher is not None):
        raise UsageError(
            "--teacher needs a loss term such as teacher:l1=1"
            if config.teacher is not None
            else f"--loss {config.loss} compares with a teacher; name it with --teacher"
        )
    if loss.needs_hr and config.teacher_only_share == 1:
        raise UsageError(f"--loss {config.loss} compares with HR, too; --teacher-only-share 1 leaves none")
    return loss


def _autocast(config: TrainConfig, device: torch.device) -> Callable[[], AbstractContextManager[Any]]:
    if config.precision == "float32":
        return nullcontext
    if config.precision == "float16" and device.type != "cuda":
        raise DeviceError(f"{device} cannot train in float16; use --precision bfloat16 or float32")
    dtype = dtype_for(device, config.precision)
    return lambda: torch.autocast(device.type, dtype)


def _moving_average(decay: float) -> Any:
    """EMA whose decay grows to ``decay``, so that short trainings forget the initial weights."""

    def average(old: list[Tensor], new: list[Tensor], count: Tensor | int) -> None:
        if old[0].is_floating_point():
            weight = min(decay, (1 + int(count)) / (10 + int(count)))
            new = list(torch._foreach_lerp(new, old, weight))
        torch._foreach_copy_(old, new)

    return average
