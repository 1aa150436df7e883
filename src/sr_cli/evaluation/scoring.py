"""A picture's scores: every measure that was asked for, by its name."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sr_cli import metrics, weights
from sr_cli.config import Degradation
from sr_cli.data import degrade
from sr_cli.errors import WeightsError
from sr_cli.evaluation.result import Protocol
from sr_cli.evaluation.samples import Sample
from sr_cli.metrics.fidelity import eight_bit
from sr_cli.networks.vgg import load_vgg_state


class Scorer:
    """Measures SR against HR and LR by one protocol.

    Args:
        measures: names out of `sr_cli.evaluation.measures.MEASURES`.
        protocol: how to measure.
        device: where to compute.

    Attributes:
        unavailable: measures that cannot be computed here, with the reason; their score is ``None``.
        gaps: for other measures the pictures that they have no value for, with the reason.
    """

    def __init__(self, measures: Sequence[str], protocol: Protocol, *, device: torch.device) -> None:
        self.measures, self.protocol = tuple(measures), protocol
        self.device = device if device.type == "cuda" else torch.device("cpu")  # MPS knows no float64
        self.unavailable: dict[str, str] = {}
        self.gaps: dict[str, dict[str, str]] = {}
        self._networks: dict[str, nn.Module] = {}
        for name in ("lpips", "dists"):
            if name in self.measures:
                try:
                    self._networks[name] = _learned(name).to(self.device)
                except WeightsError as error:
                    self.unavailable[name] = str(error)

    @torch.inference_mode()
    def scores(self, sr: Tensor, sample: Sample) -> dict[str, float | None]:
        """The scores of SR ``(1, 3, H, W)``; ``None`` where a measure has no value for this picture."""
        sr, hr, lr = (image.to(self.device) for image in (sr, sample.hr, sample.lr))
        on_grey = sample.is_grey and self.protocol.channel == "y"
        channel: metrics.Channel = "grey" if on_grey else self.protocol.channel
        found: dict[str, float | None] = dict.fromkeys(self.measures)
        for name in self.measures:
            if name in self.unavailable:
                continue
            try:
                value = float(self._measure(name, sr, hr, lr, channel))
                is_ratio = name in ("sharpness", "checkerboard")
                if math.isnan(value) or (math.isinf(value) and is_ratio):
                    raise ValueError("HR is flat" if is_ratio else "HR is too small or flat for it")
                found[name] = value
            except ValueError as error:
                self.gaps.setdefault(name, {})[sample.name] = str(error)
        return found

    def _measure(self, name: str, sr: Tensor, hr: Tensor, lr: Tensor, channel: metrics.Channel) -> Tensor:
        shave = self.protocol.shave
        match name:
            case "psnr":
                return metrics.psnr(sr, hr, shave=shave, channel=channel)
            case "ssim":
                return metrics.ssim(sr, hr, shave=shave, channel=channel)
            case "lr_psnr":
                return self._lr_psnr(sr, lr, channel)
            case "color_error":
                return metrics.color_error(sr, hr, shave=shave)
            case "color_shift":
                return metrics.color_shift(sr, hr, shave=shave)
            case "sharpness":
                return metrics.sharpness(sr, hr, shave=shave)
            case "checkerboard":
                return metrics.checkerboard(sr, hr, scale=self.protocol.scale, shave=shave)
        from sr_cli.metrics import learned, perceptual  # piq takes seconds to import

        if name in self._networks:
            return learned.learned_distance(self._networks[name], sr, hr, shave=shave)
        if name == "ms_ssim":
            return perceptual.ms_ssim(sr, hr, shave=shave, channel=channel)
        return perceptual.ON_RGB[name](sr, hr, shave=shave)

    def _lr_psnr(self, sr: Tensor, lr: Tensor, channel: metrics.Channel) -> Tensor:
        """PSNR of SR, made small again, against LR; whole pictures, nothing shaved."""
        kind: Degradation = (
            "paper" if self.protocol.lr == "paper" else "bicubic"
        )  # the accidents of a photo cannot be repeated
        small = degrade(eight_bit(sr).float(), self.protocol.scale, kind=kind)  # as precise as LR was made
        return metrics.psnr(small, lr, shave=0, channel=channel)


def _learned(name: str) -> nn.Module:
    from sr_cli.metrics import learned

    vgg = load_vgg_state(weights.locate("vgg16", kind="loss network"))
    return {"lpips": learned.lpips, "dists": learned.dists}[name](vgg, weights.locate(name, kind="metric"))
