"""`evaluate`: folders in, an `EvaluationReport` out."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import torch

from sr_cli.config import EvaluateConfig
from sr_cli.errors import ImageError, UsageError
from sr_cli.evaluation.cost import CostMeter
from sr_cli.evaluation.match_files import Files, match
from sr_cli.evaluation.measures import MEASURES
from sr_cli.evaluation.methods import FromFolder, Interpolated, Method, Modelled
from sr_cli.evaluation.result import (
    Cost,
    EvaluationReport,
    Failure,
    ImageResult,
    MethodResult,
    NothingMeasuredError,
    Protocol,
)
from sr_cli.evaluation.samples import Pixels, Sample, eight_bit_pixels, load, scale_of
from sr_cli.evaluation.scoring import Scorer
from sr_cli.imageops import dihedral
from sr_cli.metrics.fidelity import WINDOW
from sr_cli.upscaling.upscaler import Upscaler

DEFAULT_SCALE = 4


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A picture that was measured, with what there is to see: ``(H, W, 3)`` uint8 each, ``sr`` by method."""

    result: ImageResult
    lr: Pixels
    hr: Pixels
    sr: Mapping[str, Pixels]


@dataclass(frozen=True, kw_only=True)
class EvaluationStep:
    """A picture is done: number ``done`` of ``count``, measured or failed."""

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
    device: torch.device | str = "cpu",
    on_step: Callable[[EvaluationStep], None] = lambda _: None,
) -> EvaluationReport:
    """Compare ways to upscale, on a folder of HR pictures.

    A picture that fails for one method counts for none, so that all means are over the same pictures.

    Args:
        hr: folder of HR pictures, or one file.
        lr: folder of LR pictures with the same names; made from HR by ``config.degradation`` if there is none.
        sr: folders of what other tools made, a row each.
        models: upscalers, or weights by name or file, a row each.
        config: the settings.
        device: where to compute; `Upscaler` objects keep theirs, with their color correction and ensemble.
        on_step: called after every picture. Only one picture is in memory at a time.

    Raises:
        ImageError: a folder is missing or empty.
        NothingMeasuredError: no picture could be measured.
        UsageError: the models' scales differ, or are not the scale that was asked for.
        WeightsError: there are no such weights.
        ValueError: a measure has no such name.
    """
    config = config or EvaluateConfig()
    if unknown := set(config.measures) - MEASURES.keys():
        raise ValueError(f"no measure is called {min(unknown)!r}; there are {', '.join(MEASURES)}")
    upscalers = [
        m
        if isinstance(m, Upscaler)
        else Upscaler.from_pretrained(
            m, device=device, dtype=config.dtype, color_match=config.color_match, ensemble=config.ensemble
        )
        for m in models
    ]
    kernels = tuple(dict.fromkeys(("bicubic", *config.interpolations)))
    names = iter(
        _distinct([*kernels, *(Path(folder).resolve().name for folder in sr), *map(_row_name, models)])[len(kernels) :]
    )
    folders = {next(names): Path(folder) for folder in sr}
    methods: list[Method] = [
        *(Interpolated(kernel) for kernel in kernels),
        *(FromFolder(name) for name in folders),
        *(Modelled(name, upscaler) for name, upscaler in zip(names, upscalers, strict=True)),
    ]
    matched, failures = match(Path(hr), lr=None if lr is None else Path(lr), sr=folders, recursive=config.recursive)
    scale = _scale(config, upscalers, matched)
    protocol = Protocol(
        scale=scale,
        channel=config.channel,
        shave=scale if config.shave is None else config.shave,
        lr=config.degradation if lr is None else "given",
    )
    meters = {method.name: _meter(method, scale) for method in methods}
    scorer = Scorer(config.measures, protocol, device=torch.device(device))

    images: list[ImageResult] = []
    for done, files in enumerate(matched, start=1):
        outcome: Comparison | Failure
        try:
            sample = load(files, scale=scale, degradation=config.degradation, seed=config.seed)
            outcome = _compare(sample, methods, meters, scorer)
            images.append(outcome.result)
        except ImageError as error:
            outcome = _failure(files, error)
            failures.append(outcome)
        on_step(EvaluationStep(done=done, count=len(matched), outcome=outcome))
    if not images:
        raise NothingMeasuredError(failures, f"not one of {len(matched)} pictures was measured")
    return EvaluationReport(
        protocol=protocol,
        source=str(hr),
        measures=config.measures,
        methods=tuple(_method_result(method, meters[method.name]) for method in methods),
        images=tuple(images),
        failures=tuple(failures),
        unavailable=scorer.unavailable,
        notes=(*_ensembles(methods), *_rounded(methods), *_gaps(scorer), *_infinities(config.measures, images)),
    )


def _compare(sample: Sample, methods: Sequence[Method], meters: Mapping[str, CostMeter], scorer: Scorer) -> Comparison:
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
    return Comparison(result=result, lr=eight_bit_pixels(sample.lr), hr=eight_bit_pixels(sample.hr), sr=pictures)


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
            return DEFAULT_SCALE
        try:
            return scale_of(files)
        except ImageError:
            continue  # named when it is measured
    return DEFAULT_SCALE


def _meter(method: Method, scale: int) -> CostMeter:
    if isinstance(method, Modelled):
        runs = dihedral.COUNT if method.upscaler.inference.ensemble else 1
        return CostMeter(method.upscaler.device, network=method.upscaler.network, scale=scale, runs=runs)
    return CostMeter(torch.device("cpu"))


def _method_result(method: Method, meter: CostMeter) -> MethodResult:
    # Reading a file tells nothing about the tool that made it.
    cost = Cost() if isinstance(method, FromFolder) else meter.cost()
    return MethodResult(name=method.name, kind=method.kind, cost=cost)


def _row_name(model: Upscaler | str | Path) -> str:
    if isinstance(model, Upscaler):
        return model.name
    path = Path(model)
    if path.stem in ("model", "best") and path.parent.name:  # as `sr train` calls the weights of every run
        return f"{path.parent.name}/{path.stem}"
    return path.stem if path.suffix == ".safetensors" else str(model)


def _distinct(names: Sequence[str]) -> list[str]:
    """The names, numbered where one comes again."""
    distinct: list[str] = []
    for name in names:
        numbered = (f"{name} ({n})" for n in count(2))
        distinct.append(name if name not in distinct else next(n for n in numbered if n not in distinct))
    return distinct


def _failure(files: Files, error: ImageError) -> Failure:
    """The failure, under the file that the message begins with, else under HR."""
    message = str(error)
    for path in filter(None, (files.hr, files.lr, *files.sr.values())):
        if message.startswith(f"{path}: "):
            return Failure(file=str(path), reason=message.removeprefix(f"{path}: "))
    return Failure(file=str(files.hr), reason=message)


def _ensembles(methods: Sequence[Method]) -> list[str]:
    names = [each.name for each in methods if isinstance(each, Modelled) and each.upscaler.inference.ensemble]
    return [f"{', '.join(names)}: the mean over eight flips and rotations"] if names else []


def _rounded(methods: Sequence[Method]) -> list[str]:
    dtypes = {each.name: each.upscaler.dtype_name for each in methods if isinstance(each, Modelled)}
    return [f"{name}: computed in {dtype}" for name, dtype in dtypes.items() if dtype != "float32"]


def _gaps(scorer: Scorer) -> list[str]:
    return [
        f"{MEASURES[name].label} has no value for {len(pictures)} of the pictures, such as {picture}: {reason}"
        for name, pictures in scorer.gaps.items()
        for picture, reason in [next(iter(pictures.items()))]
    ]


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
