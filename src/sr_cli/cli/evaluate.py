"""``sr evaluate``: how good upscaling is, in the literature's figures."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from sr_cli import console
from sr_cli.cli.options import options
from sr_cli.config import MEASURING, MODELS, REPORT_IMAGES, EvaluateConfig
from sr_cli.console import evaluation as view
from sr_cli.console.weights import obtain
from sr_cli.errors import EXIT_SOME_FAILED, QualityError, SrError, UsageError
from sr_cli.evaluation import thresholds
from sr_cli.evaluation.measures import MEASURES, parse_measures
from sr_cli.evaluation.report import as_csv, as_json, as_markdown
from sr_cli.evaluation.result import EvaluationReport, NothingMeasuredError
from sr_cli.system.atomic_files import write_atomically
from sr_cli.weights import Kind

OUTPUT, LIMITS = "Output", "Limits"

Format = Literal["table", "json", "csv", "markdown"]


@options(EvaluateConfig)
def evaluate(
    hr: Annotated[Path, typer.Argument(metavar="HR", help="Folder of HR pictures, or one file.")],
    *,
    model: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME|FILE", help="Weights to judge; may be repeated.", rich_help_panel=MODELS),
    ] = None,
    sr: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FOLDER", help="Another tool's results to judge; may be repeated.", rich_help_panel=MODELS
        ),
    ] = None,
    lr: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="LR pictures.", show_default="made from HR", rich_help_panel=MEASURING),
    ] = None,
    given: dict[str, Any],
    metrics: Annotated[
        list[str] | None,
        typer.Option(
            "--metrics",
            "--metric",
            metavar="NAME,…",
            help=f"quick, all, or names from {', '.join(MEASURES)}.",
            show_default="quick",
            rich_help_panel=MEASURING,
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.", rich_help_panel=MODELS)] = "auto",
    per_image: Annotated[
        bool, typer.Option("--per-image", help="Print a table for every picture, too.", rich_help_panel=OUTPUT)
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.", rich_help_panel=OUTPUT)] = False,
    csv: Annotated[
        bool, typer.Option("--csv", help="Print CSV, a line per picture and method.", rich_help_panel=OUTPUT)
    ] = False,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print a Markdown table.", rich_help_panel=OUTPUT)
    ] = False,
    report: Annotated[
        Path | None,
        typer.Option(metavar="FILE.html", help="Write a page with before/after pictures.", rich_help_panel=OUTPUT),
    ] = None,
    report_images: Annotated[
        int,
        typer.Option(metavar="N", min=1, help="Pictures in --report: the worst and the best.", rich_help_panel=OUTPUT),
    ] = REPORT_IMAGES,
    minimum: Annotated[
        list[str] | None,
        typer.Option(
            "--min", metavar="METRIC=VALUE", help="Fail below this mean, such as psnr=31.", rich_help_panel=LIMITS
        ),
    ] = None,
    maximum: Annotated[
        list[str] | None,
        typer.Option("--max", metavar="METRIC=VALUE", help="Fail above this mean.", rich_help_panel=LIMITS),
    ] = None,
    baseline: Annotated[
        Path | None,
        typer.Option(
            metavar="OLD.json", help="An older --json to compare with; fail if worse.", rich_help_panel=LIMITS
        ),
    ] = None,
    tolerance: Annotated[
        list[str] | None,
        typer.Option(
            metavar="METRIC=VALUE", help="How much worse than --baseline still passes.", rich_help_panel=LIMITS
        ),
    ] = None,
) -> None:
    """Measure how well models, or other tools, upscale; bicubic interpolation is always there to compare with."""
    formats: dict[Format, bool] = {"json": json, "csv": csv, "markdown": markdown}
    chosen = [name for name, wanted in formats.items() if wanted]
    if len(chosen) > 1:
        raise UsageError(f"--{chosen[0]} and --{chosen[1]} both print to stdout; choose one")
    if tolerance and not baseline:
        raise UsageError("--tolerance needs --baseline")
    if lr and "degradation" in given:
        raise UsageError("--degradation makes LR from HR; leave it out with --lr")
    _check_page(report)
    bounds = [thresholds.parse_threshold(text, "min") for text in minimum or ()]
    bounds += [thresholds.parse_threshold(text, "max") for text in maximum or ()]
    measures = parse_measures(",".join(metrics or ["quick"]))
    bounded = (bound.measure for bound in bounds if bound.measure in MEASURES)
    try:
        config = EvaluateConfig(**given, measures=tuple(dict.fromkeys((*measures, *bounded))))
    except ValueError as error:
        raise UsageError(str(error)) from error
    tolerances = thresholds.parse_tolerances(tolerance or ())
    old = thresholds.read_report(baseline) if baseline else None
    _download_learned(config)

    from sr_cli.evaluation import evaluate as run
    from sr_cli.evaluation.report.gallery import Gallery
    from sr_cli.evaluation.report.page import page
    from sr_cli.system import device as devices

    gallery = Gallery(measure=config.measures[0], limit=report_images) if report else None
    with view.evaluation_progress() as progress:

        def on_step(step: run.EvaluationStep) -> None:
            progress(step)
            if gallery and isinstance(step.outcome, run.Comparison):
                gallery.add(step.outcome)

        try:
            found = run.evaluate(
                hr,
                lr=lr,
                sr=sr or (),
                models=model or (),
                config=config,
                device=devices.choose(device),
                on_step=on_step,
            )
        except NothingMeasuredError as error:
            view.show_failures(error.failures[1:])  # the message has the first
            raise
    output = chosen[0] if chosen else "table"
    _print(found, output, per_image=per_image)
    if report and gallery:
        write_atomically(report, page(found, gallery.exhibits))
        console.note(f"wrote {report}")
    view.show_failures(found.failures)
    changes = thresholds.compare(found, old, tolerances) if old else []
    if old:
        view.show_changes(changes, to=console.out if output == "table" else console.err)
        for line in thresholds.uncompared(found, old):
            console.note(f"not compared: {line}")
    problems = thresholds.failed_thresholds(found, bounds)
    problems += [f"{each.measure} of {each.method} is worse than the baseline" for each in changes if each.worse]
    if problems:
        raise QualityError("; ".join(problems))
    if found.failures:
        raise typer.Exit(EXIT_SOME_FAILED)


def _check_page(path: Path | None) -> None:
    """Refuse now what would fail after all the work, or give the page a misleading name."""
    if path and path.is_dir():
        raise UsageError(f"--report {path}: is a folder; name a file in it")
    if path and path.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"--report {path}: the name has to end with .html")


def _download_learned(config: EvaluateConfig) -> None:
    """Download what LPIPS and DISTS need; if that fails, their columns say why they are missing."""
    learned = [name for name in ("lpips", "dists") if name in config.measures]
    if learned and _downloaded("vgg16", "loss network"):  # useless without
        for name in learned:
            _downloaded(name, "metric")


def _downloaded(name: str, kind: Kind) -> bool:
    try:
        obtain(name, kind)
    except SrError as error:
        console.warning(str(error))
        return False
    return True


def _print(report: EvaluationReport, output: Format, *, per_image: bool) -> None:
    if output == "table":
        view.show(report, per_image=per_image)
    else:
        text = {"json": as_json, "csv": as_csv, "markdown": as_markdown}[output](report)
        print(text, end="", flush=True)  # typer.echo would replace what stdout's encoding lacks by question marks
