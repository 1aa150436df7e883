"""``sr evaluate``: how good upscaling is, in the literature's figures."""

from pathlib import Path
from typing import Annotated, Any

import typer

from sr_cli import console, weights
from sr_cli.cli.options import check_page, option, options, yes_option
from sr_cli.config import MEASURING, MODELS, REPORT_IMAGES, EvaluateConfig
from sr_cli.console import evaluation as view
from sr_cli.console.weights import obtain, obtain_model
from sr_cli.errors import EXIT_SOME_FAILED, QualityError, SrError, UsageError, as_usage_error
from sr_cli.evaluation import thresholds
from sr_cli.evaluation.measures import MEASURES, parse_measures, without_reference
from sr_cli.evaluation.report import as_csv, as_json, as_markdown
from sr_cli.evaluation.result import NothingMeasuredError
from sr_cli.system.atomic_files import write_atomically

OUTPUT, LIMITS = "Output", "Limits"


@options(EvaluateConfig)
def evaluate(
    hr: Annotated[
        Path, typer.Argument(metavar="HR", help="Folder of HR pictures (LR with --no-reference), or one file.")
    ],
    *,
    model: Annotated[
        list[str] | None, option("Weights to judge; may be repeated.", MODELS, "--model", "-m", metavar="NAME|FILE|URL")
    ] = None,
    yes: Annotated[bool, yes_option(MODELS)] = False,
    sr: Annotated[
        list[Path] | None, option("Another tool's results to judge; may be repeated.", MODELS, "--sr", metavar="FOLDER")
    ] = None,
    lr: Annotated[
        Path | None, option("LR pictures.", MEASURING, "--lr", "--lr-folder", metavar="FOLDER", shown="made from HR")
    ] = None,
    given: dict[str, Any],
    metrics: Annotated[
        list[str] | None,
        option(
            f"quick, all, or names from {', '.join(MEASURES)}.",
            MEASURING,
            "--metrics",
            "--metric",
            metavar="NAME,…",
            shown="quick",
        ),
    ] = None,
    device: Annotated[str, option("auto, cpu, cuda, cuda:1, mps.", MODELS, "--device", metavar="NAME")] = "auto",
    quiet: Annotated[bool, option("Print no progress.", OUTPUT, "--quiet", "-q")] = False,
    per_image: Annotated[bool, option("Print a table for every picture, too.", OUTPUT, "--per-image")] = False,
    json: Annotated[bool, option("Print JSON.", OUTPUT, "--json")] = False,
    csv: Annotated[bool, option("Print CSV, a line per picture and method.", OUTPUT, "--csv")] = False,
    markdown: Annotated[bool, option("Print a Markdown table.", OUTPUT, "--markdown")] = False,
    report: Annotated[
        Path | None, option("Write a page with before/after pictures.", OUTPUT, "--report", metavar="FILE.html")
    ] = None,
    report_images: Annotated[
        int, option("Pictures in --report: the worst and the best.", OUTPUT, "--report-images", metavar="N", min=1)
    ] = REPORT_IMAGES,
    minimum: Annotated[
        list[str] | None, option("Fail below this mean, such as psnr=31.", LIMITS, "--min", metavar="METRIC=VALUE")
    ] = None,
    maximum: Annotated[
        list[str] | None, option("Fail above this mean.", LIMITS, "--max", metavar="METRIC=VALUE")
    ] = None,
    baseline: Annotated[
        Path | None, option("An older --json to compare with; fail if worse.", LIMITS, "--baseline", metavar="OLD.json")
    ] = None,
    tolerance: Annotated[
        list[str] | None,
        option("How much worse than --baseline still passes.", LIMITS, "--tolerance", metavar="METRIC=VALUE"),
    ] = None,
) -> None:
    """Measure how well models, or other tools, upscale.

    HR are the originals, LR the small pictures that are upscaled, SR the results. Bicubic interpolation is always there
    to compare with.
    """
    formats = (("json", json, as_json), ("csv", csv, as_csv), ("markdown", markdown, as_markdown))
    chosen = [(name, write) for name, wanted, write in formats if wanted]
    if len(chosen) > 1:
        raise UsageError(f"--{chosen[0][0]} and --{chosen[1][0]} both print to stdout; choose one")
    if tolerance and not baseline:
        raise UsageError("--tolerance needs --baseline")
    if lr and "degradation" in given:
        raise UsageError("--degradation makes LR from HR; leave it out with --lr")
    if given.get("no_reference") and "degradation" in given:
        raise UsageError("--degradation makes LR from HR; leave it out with --no-reference")
    check_page(report)
    bounds = [thresholds.parse_threshold(text, "min") for text in minimum or ()]
    bounds += [thresholds.parse_threshold(text, "max") for text in maximum or ()]
    measures = parse_measures(",".join(metrics or ["quick"]))
    if given.get("no_reference"):
        measures = without_reference(measures)
    bounded = (bound.measure for bound in bounds if bound.measure in MEASURES)
    with as_usage_error():
        config = EvaluateConfig(**given, measures=tuple(dict.fromkeys((*measures, *bounded))))
    tolerances = thresholds.parse_tolerances(tolerance or ())
    old = thresholds.read_report(baseline) if baseline else None
    for each in model or ():
        if "," in each and not weights.is_path(each):
            raise UsageError(f"--model {each}: repeat the option, as in {' '.join(f'-m {m}' for m in each.split(','))}")
    models = [obtain_model(each, yes=yes) for each in model or ()]
    _download_learned(config)

    from sr_cli.evaluation import evaluate as run
    from sr_cli.evaluation.report.gallery import Gallery
    from sr_cli.evaluation.report.page import page
    from sr_cli.system import device as devices
    from sr_cli.training.runs import TrainingRun

    gallery = Gallery(measure=config.measures[0], limit=report_images) if report else None
    chosen_device = devices.choose(device)
    for each in model or ():
        if (Path(each) / "config.json").is_file() and TrainingRun.read(each).is_of(hr):
            console.warning(f"{each}: was trained on these photos, so its figures flatter it")
    with view.evaluation_progress(quiet=quiet) as progress:

        def on_step(step: run.EvaluationStep) -> None:
            progress(step)
            if gallery and isinstance(step.outcome, run.Comparison):
                gallery.add(step.outcome)

        try:
            found = run.evaluate(
                hr, lr=lr, sr=sr or (), models=models, config=config, device=chosen_device, on_step=on_step
            )
        except NothingMeasuredError as error:
            view.show_failures(error.failures[1:])  # the message has the first
            raise
    for _, write in chosen:
        # typer.echo would replace what stdout's encoding lacks by question marks.
        print(write(found), end="", flush=True)
    if not chosen:
        view.show(found, per_image=per_image)
    if report and gallery:
        write_atomically(report, page(found, gallery.exhibits))
        console.note(f"wrote {report}")
    view.show_failures(found.failures)
    problems = thresholds.failed_thresholds(found, bounds)
    if old:
        changes = thresholds.compare(found, old, tolerances)
        view.show_changes(changes, to=console.err if chosen else console.out)
        for line in thresholds.uncompared(found, old):
            console.note(f"not compared: {line}")
        problems += [f"{each.measure} of {each.method} is worse than the baseline" for each in changes if each.worse]
    if problems:
        raise QualityError("; ".join(problems))
    if found.failures:
        raise typer.Exit(EXIT_SOME_FAILED)


def _download_learned(config: EvaluateConfig) -> None:
    """Download what LPIPS and DISTS need; if that fails, their columns say why they are missing."""
    learned = [name for name in ("lpips", "dists") if name in config.measures]
    for name in ("vgg16", *learned) if learned else ():
        try:
            obtain(name, "metric" if name in learned else "loss network")
        except SrError as error:
            console.warning(str(error))
            if name == "vgg16":  # without which the others are useless
                return
