"""``sr evaluate``: how good upscaling is, in the literature's figures."""

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from sr_cli import console
from sr_cli.config import REPORT_IMAGES, ColorMatch, EvaluateConfig
from sr_cli.console import evaluation as view
from sr_cli.console.weights import obtain
from sr_cli.errors import EXIT_SOME_FAILED, QualityError, SrError, UsageError
from sr_cli.evaluation import thresholds as gates
from sr_cli.evaluation.measures import MEASURES, measures_named
from sr_cli.evaluation.report import as_csv, as_json, as_markdown
from sr_cli.evaluation.result import EvaluationReport, NothingMeasuredError
from sr_cli.system.atomic_files import atomic_write, write_atomically
from sr_cli.weights import Kind

if TYPE_CHECKING:
    from sr_cli.evaluation.report.gallery import Gallery

DEFAULTS = EvaluateConfig()

Form = Literal["table", "json", "csv", "markdown"]


class _Channel(str, Enum):
    y = "y"
    rgb = "rgb"


class _Degradation(str, Enum):
    bicubic = "bicubic"
    paper = "paper"
    photo = "photo"


class _Interpolation(str, Enum):
    nearest = "nearest"
    lanczos = "lanczos"


def evaluate(
    hr: Annotated[Path, typer.Argument(metavar="HR", help="Folder of HR pictures, or one file.")],
    *,
    lr: Annotated[Path | None, typer.Option(metavar="FOLDER", help="LR pictures; else they are made from HR.")] = None,
    sr: Annotated[
        list[Path] | None, typer.Option(metavar="FOLDER", help="Results of another tool to judge; may be repeated.")
    ] = None,
    model: Annotated[
        list[str] | None, typer.Option(metavar="NAME|FILE", help="Weights to judge; may be repeated.")
    ] = None,
    also: Annotated[list[_Interpolation] | None, typer.Option(help="More rows beside bicubic.")] = None,
    scale: Annotated[int | None, typer.Option(min=2, help="HR over LR; the models', or 4.")] = None,
    degradation: Annotated[_Degradation, typer.Option(help="How LR is made from HR.")] = _Degradation.bicubic,
    metrics: Annotated[
        list[str] | None,
        typer.Option(
            "--metrics", "--metric", metavar="NAME,…", help=f"quick (the default), all, or: {', '.join(MEASURES)}."
        ),
    ] = None,
    channel: Annotated[_Channel, typer.Option(help="What PSNR and SSIM are measured on.")] = _Channel.y,
    shave: Annotated[int | None, typer.Option(min=0, help="Pixels left out at every side; the scale.")] = None,
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Also look into subfolders.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="For --degradation photo.")] = DEFAULTS.seed,
    color_match: Annotated[
        ColorMatch, typer.Option(help="How models give the input's colors back; auto: as their weights ask for.")
    ] = "auto",
    ensemble: Annotated[
        bool, typer.Option("--ensemble", help="Models give the mean over 8 flips and rotations, 8 times slower.")
    ] = False,
    dtype: Annotated[
        Literal["auto", "float32", "float16", "bfloat16"],
        typer.Option(help="What models compute in; auto: what `sr upscale` takes."),
    ] = "float32",
    per_image: Annotated[bool, typer.Option("--per-image", help="A table for every picture too.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV, a line for every picture and method.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print a Markdown table.")] = False,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Write a page with before/after pictures.")
    ] = None,
    sheet: Annotated[Path | None, typer.Option(metavar="FILE.png", help="Write the comparison as one picture.")] = None,
    report_images: Annotated[
        int, typer.Option(metavar="N", min=1, help="Pictures in --report and --sheet: the worst and the best.")
    ] = REPORT_IMAGES,
    minimum: Annotated[
        list[str] | None, typer.Option("--min", metavar="METRIC=VALUE", help="Fail below this mean, such as psnr=31.")
    ] = None,
    maximum: Annotated[
        list[str] | None, typer.Option("--max", metavar="METRIC=VALUE", help="Fail above this mean.")
    ] = None,
    baseline: Annotated[
        Path | None, typer.Option(metavar="OLD.json", help="An older --json to compare with; fail if worse.")
    ] = None,
    tolerance: Annotated[
        list[str] | None, typer.Option(metavar="METRIC=VALUE", help="How much worse than --baseline still passes.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
) -> None:
    """Measure how good models, or other tools' results, are at upscaling; bicubic is always there to compare with."""
    form = _form(json=json, csv=csv, markdown=markdown)
    if tolerance and not baseline:
        raise UsageError("--tolerance goes with --baseline")
    if lr and degradation.value != DEFAULTS.degradation:
        raise UsageError("--degradation makes LR from HR; with --lr there is nothing to make")
    _check_destinations(report, sheet)
    thresholds = [gates.threshold(text, "min") for text in minimum or ()]
    thresholds += [gates.threshold(text, "max") for text in maximum or ()]
    measures = measures_named(",".join(metrics)) if metrics else DEFAULTS.measures
    bounded = (each.measure for each in thresholds if each.measure in MEASURES)
    config = EvaluateConfig(
        scale=scale,
        channel=channel.value,
        shave=shave,
        degradation=degradation.value,
        measures=tuple(dict.fromkeys((*measures, *bounded))),
        interpolations=tuple(each.value for each in also or ()),
        recursive=recursive,
        seed=seed,
        color_match=color_match,
        ensemble=ensemble,
        dtype=dtype,
    )
    tolerances = gates.tolerances(tolerance or ())
    old = gates.read_report(baseline) if baseline else None
    _obtain_learned(config)

    from sr_cli.evaluation import evaluate as run
    from sr_cli.evaluation.report.gallery import Gallery
    from sr_cli.system import device as devices

    gallery = Gallery(measure=config.measures[0], limit=report_images) if report or sheet else None
    with view.evaluation_progress() as progress:

        def on_step(step: run.EvaluationStep) -> None:
            progress(step)
            if gallery and isinstance(step.outcome, run.Comparison):
                gallery.add(step.outcome)

        try:
            found = run.evaluate(
                hr, lr=lr, sr=sr or (), models=model or (), config=config, device=devices.choose(device),
                on_step=on_step,
            )  # fmt: skip
        except NothingMeasuredError as error:
            view.show_failures(error.failures[1:])  # the message has the first
            raise
    _print(found, form, per_image=per_image)
    if gallery:
        _write(found, gallery, report=report, sheet=sheet)
    view.show_failures(found.failures)
    changes = gates.changes(found, old, tolerances) if old else []
    if old:
        view.show_changes(changes, to=console.out if form == "table" else console.err)
        for line in gates.uncompared(found, old):
            console.note(f"not compared: {line}")
    problems = gates.broken(found, thresholds)
    problems += [f"{change.measure} of {change.method} fell behind the baseline" for change in changes if change.worse]
    if problems:
        raise QualityError("; ".join(problems))
    if found.failures:
        raise typer.Exit(EXIT_SOME_FAILED)


def _form(*, json: bool, csv: bool, markdown: bool) -> Form:
    forms: dict[Form, bool] = {"json": json, "csv": csv, "markdown": markdown}
    chosen = [form for form, wanted in forms.items() if wanted]
    if len(chosen) > 1:
        raise UsageError(f"--{chosen[0]} and --{chosen[1]} both print to stdout; choose one")
    return chosen[0] if chosen else "table"


def _check_destinations(report: Path | None, sheet: Path | None) -> None:
    """Refuse now what would fail after all the work, or give a file a name that misleads."""
    for option, path, suffixes in (("--report", report, (".html", ".htm")), ("--sheet", sheet, (".png",))):
        if path and path.is_dir():
            raise UsageError(f"{option} {path}: that is a folder; name a file in it")
        if path and path.suffix.lower() not in suffixes:
            raise UsageError(f"{option} {path}: the name has to end with {suffixes[0]}")


def _obtain_learned(config: EvaluateConfig) -> None:
    """Download what LPIPS and DISTS need; where that fails, their column will say why they are missing."""
    learned = [name for name in ("lpips", "dists") if name in config.measures]
    if learned and _obtained("vgg16", "loss network"):  # useless without
        for name in learned:
            _obtained(name, "metric")


def _obtained(name: str, kind: Kind) -> bool:
    try:
        obtain(name, kind)
    except SrError as error:
        console.warning(str(error))
        return False
    return True


def _print(report: EvaluationReport, form: Form, *, per_image: bool) -> None:
    if form == "table":
        view.show(report, per_image=per_image)
    else:
        text = {"json": as_json, "csv": as_csv, "markdown": as_markdown}[form](report)
        print(text, end="", flush=True)  # typer.echo would put question marks for what stdout's encoding lacks


def _write(found: EvaluationReport, gallery: "Gallery", *, report: Path | None, sheet: Path | None) -> None:
    from sr_cli.evaluation.report.page import page
    from sr_cli.evaluation.report.sheet import sheet as sheet_of

    if report:
        write_atomically(report, page(found, gallery.exhibits))
        console.note(f"wrote {report}")
    if sheet:
        with atomic_write(sheet) as file:
            sheet_of(found, gallery.exhibits).save(file, "PNG")
        console.note(f"wrote {sheet}")
