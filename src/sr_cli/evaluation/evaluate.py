"""`evaluate`: folders in, an `EvaluationReport` out."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sr_cli.config import EvaluateConfig, UpscaleConfig
from sr_cli.errors import ImageError, UsageError
from sr_cli.evaluation.cost import CostMeter
from sr_cli.evaluation.match_files import Files, match
from sr_cli.evaluation.measures import MEASURES, UnavailableError, parse_measures, without_reference
from sr_cli.evaluation.methods import Method, folder, interpolation, model
from sr_cli.evaluation.result import (
    EvaluationProtocol,
    EvaluationReport,
    Failure,
    ImageResult,
    MethodResult,
    NothingMeasuredError,
)
from sr_cli.evaluation.samples import RgbPixels, Sample, eight_bit_pixels, load_sample, scale_between
from sr_cli.metrics.fidelity import WINDOW
from sr_cli.system import device as devices
from sr_cli.system.quantities import pictures
from sr_cli.upscaling.upscaler import Upscaler

DEFAULT_SCALE = 4


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A picture that was measured, with its pixels; ``sr`` is by method, ``hr`` is ``None`` if there is none."""

    result: ImageResult
    lr: RgbPixels
    hr: RgbPixels | None
    sr: Mapping[str, RgbPixels]


@dataclass(frozen=True, kw_only=True)
class EvaluationStep:
    """Picture ``done`` of ``count`` was measured, or failed."""

    done: int
    count: int
    outcome: Comparison | Failure


def evaluate(
    hr: str | Path,
    *,
    lr: str | Path | None = None,
    sr: Sequence[str | Path] = (),
    models: Sequence[Upscaler | str | Path] = (),
    config: EvaluateConfig | None = None,
    device: torch.device | str = "auto",
    on_step: Callable[[EvaluationStep], None] = lambda _: None,
    **fields: Any,
) -> EvaluationReport:
    """Compare methods of upscaling on a folder of HR pictures.

    A picture that fails for one method counts for none, so that all means are over the same pictures.

    Args:
        hr: folder of HR pictures, or one file; of LR pictures, with ``config.no_reference``.
        lr: folder of LR pictures with the same names; without it, LR is made from HR by ``config.degradation``.
        sr: folders of other tools' results, a row each.
        models: upscalers, or weights by name or file, a row each.
        config: the settings; ``None``: the defaults.
        device: where to compute; `Upscaler` objects keep their own device and settings.
        on_step: called after every picture. Only one picture is in memory at a time.
        fields: of `EvaluateConfig`, to be changed in ``config``, such as ``measures=("psnr", "niqe")``; or the
            text of ``--metrics``: ``metrics="psnr,niqe"``.

    Raises:
        ImageError: a folder is missing or empty.
        NothingMeasuredError: no picture could be measured.
        UsageError: an unknown metric; the models' scales differ, or are not ``config.scale``; a measure needs HR and
            there is none.
        WeightsError: weights are missing or cannot be read.
        DeviceError: the device is absent.
        ValueError: an unknown measure.
    """
    if "metrics" in fields:
        fields["measures"] = parse_measures(fields.pop("metrics"))
    config = replace(config or EvaluateConfig(), **fields)
    device = devices.choose(str(device))
    if unknown := set(config.measures) - MEASURES.keys():
        raise ValueError(f"unknown measure {min(unknown)!r}; choose from {', '.join(MEASURES)}")
    if config.no_reference and lr is not None:
        raise UsageError("--lr belongs to HR; leave it out with --no-reference")
    measures = without_reference(config.measures) if config.no_reference else config.measures
    same = {name: getattr(config, name) for name in ("arch", "dtype", "color_match", "ensemble")}
    settings = UpscaleConfig(**same, device=str(device))
    upscalers = [each if isinstance(each, Upscaler) else Upscaler(each, settings) for each in models]
    kernels = tuple(dict.fromkeys(("bicubic", *config.interpolations)))
    names = _distinct([*kernels, *(Path(each).resolve().name for each in sr), *map(_row_name, models)])
    folders = dict(zip(names[len(kernels) :], map(Path, sr), strict=False))
    methods: list[Method] = [
        *map(interpolation, kernels),
        *map(folder, folders),
        *map(model, names[len(kernels) + len(folders) :], upscalers),
    ]
    matched, failures = match(Path(hr), lr=None if lr is None else Path(lr), sr=folders, recursive=config.recursive)
    scale = _scale(config, upscalers, matched)
    made_by = config.degradation if lr is None and not config.no_reference else None
    protocol = EvaluationProtocol(
        scale=scale,
        channel=config.channel,
        shave=scale if config.shave is None else config.shave,
        lr=made_by or ("pictures" if config.no_reference else "given"),
        seed=config.seed if made_by in ("photo", "real") else None,
    )
    meters = {method.name: CostMeter(method) for method in methods}
    scorer = _Scorer(measures, protocol, device)

    images: list[ImageResult] = []
    for done, files in enumerate(matched, start=1):
        outcome: Comparison | Failure
        try:
            sample = load_sample(
                files, scale=scale, degradation=config.degradation, seed=config.seed, no_reference=config.no_reference
            )
            outcome = _compare(sample, methods, meters, scorer)
            images.append(outcome.result)
        except ImageError as error:
            outcome = _failure(files, error)
            failures.append(outcome)
        on_step(EvaluationStep(done=done, count=len(matched), outcome=outcome))
    if not images:
        raise NothingMeasuredError(failures, f"not one of {pictures(len(matched))} was measured")
    return EvaluationReport(
        protocol=protocol,
        source=str(hr),
        measures=measures,
        methods=tuple(MethodResult(name=m.name, kind=m.kind, cost=meters[m.name].cost()) for m in methods),
        images=tuple(images),
        failures=tuple(failures),
        unavailable=scorer.unavailable,
        notes=(*_model_notes(methods), *scorer.notes(), *_infinities(measures, images)),
    )


class _Scorer:
    """Computes the measures of SR by one protocol.

    Attributes:
        unavailable: measures that cannot be computed on this machine, with the reason; their scores are ``None``.
    """

    def __init__(self, measures: Sequence[str], protocol: EvaluationProtocol, device: torch.device) -> None:
        self.measures, self.protocol = tuple(measures), protocol
        self.device = device if device.type == "cuda" else torch.device("cpu")  # MPS has no float64
        self.unavailable: dict[str, str] = {}
        self._gaps: dict[str, dict[str, str]] = {}

    @torch.inference_mode()
    def scores(self, sr: Tensor, sample: Sample) -> dict[str, float | None]:
        """The scores of SR ``(1, 3, H, W)``; ``None`` if a measure has no value for this picture."""
        is_gray = sample.is_gray and self.protocol.channel == "y"
        inputs = {
            "sr": sr.to(self.device),
            "hr": None if sample.hr is None else sample.hr.to(self.device),
            "lr": sample.lr.to(self.device),
            "scale": self.protocol.scale,
            "shave": self.protocol.shave,
            "channel": "gray" if is_gray else self.protocol.channel,
            "degradation": self.protocol.lr,
        }
        found: dict[str, float | None] = dict.fromkeys(self.measures)
        for name in self.measures:
            if name in self.unavailable:
                continue
            try:
                found[name] = MEASURES[name].compute(inputs)
            except UnavailableError as error:
                self.unavailable[name] = str(error)
            except ValueError as error:
                self._gaps.setdefault(name, {})[sample.name] = str(error)
        return found

    def notes(self) -> list[str]:
        """A sentence for each measure that has no value for some pictures."""
        return [
            f"{MEASURES[name].label} has no value for {len(pictures)} of the pictures, such as {picture}: {reason}"
            for name, pictures in self._gaps.items()
            for picture, reason in [next(iter(pictures.items()))]
        ]


def _compare(sample: Sample, methods: Sequence[Method], meters: Mapping[str, CostMeter], scorer: _Scorer) -> Comparison:
    height, width = sample.size
    if min(sample.size) < 2 * scorer.protocol.shave + WINDOW:
        raise ImageError(f"{width}×{height} pixels are too few to shave and measure")
    pictures, scores = {}, {}
    for method in methods:
        with meters[method.name].watching(pixels=height * width):
            sr = method.sr(sample)
        if not torch.isfinite(sr).all():
            raise ImageError(f"the output of {method.name} is not finite (NaN or infinity)")
        pictures[method.name] = eight_bit_pixels(sr)
        scores[method.name] = scorer.scores(sr, sample)
    result = ImageResult(name=sample.name, width=width, height=height, scores=scores)
    hr = None if sample.hr is None else eight_bit_pixels(sample.hr)
    return Comparison(result=result, lr=eight_bit_pixels(sample.lr), hr=hr, sr=pictures)


def _scale(config: EvaluateConfig, upscalers: Sequence[Upscaler], matched: Sequence[Files]) -> int:
    scales = {upscaler.scale for upscaler in upscalers} | ({config.scale} if config.scale else set())
    if len(scales) > 1:
        each = ", ".join(f"{upscaler.name} x{upscaler.scale}" for upscaler in upscalers)
        asked = f"; --scale {config.scale}" if config.scale else ""
        raise UsageError(f"one table has one scale: {each}{asked}")
    if scales:
        return scales.pop()
    for files in matched:
        if files.lr is None:
            break
        try:
            return scale_between(files.hr, files.lr)
        except ImageError:
            continue  # reported when it is measured
    return DEFAULT_SCALE


def _row_name(model: Upscaler | str | Path) -> str:
    if isinstance(model, Upscaler):
        return model.name
    path = Path(model)
    if path.stem in ("model", "best") and path.parent.name:  # what `sr train` calls the weights of every run
        return f"{path.parent.name}/{path.stem}"
    return path.stem if path.suffix == ".safetensors" else str(model)


def _distinct(names: Sequence[str]) -> list[str]:
    """The names; repeated ones are numbered."""
    distinct: list[str] = []
    for name in names:
        numbered = (f"{name} ({n})" for n in count(2))
        distinct.append(name if name not in distinct else next(n for n in numbered if n not in distinct))
    return distinct


def _failure(files: Files, error: ImageError) -> Failure:
    """The failure of the file that the message begins with, else of HR."""
    message = str(error)
    for path in filter(None, (files.hr, files.lr, *files.sr.values())):
        if message.startswith(f"{path}: "):
            return Failure(file=str(path), reason=message.removeprefix(f"{path}: "))
    return Failure(file=str(files.hr), reason=message)


def _model_notes(methods: Sequence[Method]) -> list[str]:
    upscalers = {method.name: method.upscaler for method in methods if method.upscaler}
    ensembles = [name for name, upscaler in upscalers.items() if upscaler.runner.ensemble]
    notes = [f"{', '.join(ensembles)}: the mean over eight flips and rotations"] if ensembles else []
    dtypes = {name: upscaler.dtype_name for name, upscaler in upscalers.items()}
    return notes + [f"{name}: computed in {dtype}" for name, dtype in dtypes.items() if dtype != "float32"]


def _infinities(measures: Sequence[str], images: Sequence[ImageResult]) -> list[str]:
    """Why a mean is infinite: one picture that a method gets exactly right is enough."""
    exact = {
        name: [image.name for image in images if math.inf in (scores.get(name) for scores in image.scores.values())]
        for name in measures
    }
    return [
        f"{MEASURES[name].label} is infinite for {len(pictures)} of the pictures, such as {pictures[0]}, hence its mean"
        for name, pictures in exact.items()
        if pictures
    ]
