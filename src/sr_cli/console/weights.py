"""Weights on the console: a download's progress, the question before it, and the list of weights."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.prompt import Confirm
from rich.table import Table

from sr_cli import console, signals, weights
from sr_cli.errors import WeightsError
from sr_cli.system.quantities import megabytes
from sr_cli.weights.catalog import in_plain_words
from sr_cli.weights.checksums import sha256_of

Rows = Sequence[tuple[weights.Entry, weights.State]]


def obtain(name: str, kind: weights.Kind) -> Path:
    """The path of loss networks and metrics that a command needs; missing ones are downloaded, on a terminal after a
    question.

    Raises:
        WeightsError: the name is unknown, the user declined, or ``SR_OFFLINE`` is set.
        DownloadError, OutputError: see `weights.fetch`.
    """
    entry = weights.entry(name, kind=kind)
    if weights.state(entry) in ("shipped", "cached") or weights.offline() or not entry.urls:
        return weights.locate(name, kind=kind)
    if console.on_a_terminal() and not _confirm(entry):
        raise WeightsError(
            f"{entry.name} is needed, and was not downloaded; `sr download-weights {entry.name}` does it"
        )
    return fetch(entry)


def obtain_model(model: str, *, yes: bool = False) -> str:
    """The name or the file of a model that a command needs and that is here now, for `upscaling.load.find_weights`.

    What is missing is downloaded: on a terminal after a question, elsewhere only with ``yes``.

    Args:
        model: a name, a file, or a URL, which is downloaded once and then remembered with its SHA-256.

    Raises:
        WeightsError: the name is unknown, or the model isn't here and may not be downloaded.
        DownloadError, OutputError: see `weights.fetch`.
    """
    if not weights.is_url(model) and weights.is_path(model):
        return model
    entry = weights.entry_of_url(model) if weights.is_url(model) else weights.entry(model, kind="upscaler")
    if weights.state(entry) in ("shipped", "cached"):
        return entry.name
    if weights.offline() or not entry.urls:
        return str(weights.locate(entry.name, kind="upscaler"))
    if not yes and not (console.on_a_terminal() and _confirm(entry)):
        command = f"sr download-weights {entry.name}" + (f" --url {model}" if weights.is_url(model) else "")
        raise WeightsError(f"{entry.name} is not here yet: run `{command}`, or add --yes")
    if weights.is_url(model) and entry.sha256 is None:
        fetch_new(entry)
    else:
        fetch(entry)
    return entry.name


def fetch_new(entry: weights.Entry, *, force: bool = False) -> Path:
    """`fetch` what nothing vouches for yet; its SHA-256 is shown, and remembered with the URL."""
    path = fetch(entry, force=force)
    digest = sha256_of(path)
    console.note(f"{entry.name}: SHA-256 {digest}; remembered in {weights.user_registry_path()}")
    weights.remember(replace(entry, sha256=digest, size=path.stat().st_size))
    return path


def fetch(entry: weights.Entry, *, force: bool = False) -> Path:
    """`weights.fetch` with its progress and its outcome shown."""
    path, state = weights.path_of(entry), weights.state(entry)
    if state in ("shipped", "cached") and not force:
        console.note(f"{entry.name}: already here")
        return path
    if state == "corrupt" and entry.urls:
        console.note(f"{entry.name}: {path} is damaged; downloading it again")
    with _progress(entry) as on_progress:
        weights.fetch(entry, force=force, on_progress=on_progress)
    console.note(f"{entry.name}: downloaded{', SHA-256 verified' if entry.sha256 else ''}")
    return path


def print_table(rows: Rows) -> None:
    """Print the entries with their states, and the folder of the weights."""
    table = Table(box=None, pad_edge=False)
    for column in ("name", "kind", "scale", "size", "state"):
        table.add_column(column, justify="right" if column in ("scale", "size") else "left", no_wrap=True)
    for entry, state in rows:
        path = weights.path_of(entry)
        size = path.stat().st_size if path.is_file() else entry.size
        scale = f"x{entry.scale}" if entry.scale else "-"
        table.add_row(entry.name, entry.kind, scale, megabytes(size) if size else "-", state)
    console.out.print(table)
    console.note(f"folder: {weights.data_dir()}")


def print_json(rows: Rows) -> None:
    """Print the entries with all their fields, as a JSON list."""
    listed = [{**asdict(entry), "path": str(weights.path_of(entry)), "state": state} for entry, state in rows]
    console.out.print(json.dumps(listed, indent=2), markup=False)


@contextmanager
def _progress(entry: weights.Entry) -> Iterator[weights.OnProgress]:
    """Show progress as a bar on a terminal, elsewhere as a plain line for each quarter."""
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn(), TextColumn("left"))
    bar = Progress(
        TextColumn("{task.description}", markup=False), *columns,
        console=console.err, transient=True, disable=not console.err.is_terminal,
    )  # fmt: skip
    task = bar.add_task(entry.name, total=entry.size)
    quarters = 0

    def show(progress: weights.Progress) -> None:
        nonlocal quarters
        if progress.note:
            console.note(f"{entry.name}: {progress.note}")
            return
        bar.update(task, completed=progress.done, total=progress.total)
        passed = progress.done * 4 // progress.total if progress.total else 0
        if bar.disable and passed > quarters:
            quarters = passed
            console.note(f"{entry.name}: {megabytes(progress.done)} of {megabytes(progress.total)}")

    with signals.saying(f"{entry.name}: interrupted; the same command resumes"), bar:
        yield show


def _confirm(entry: weights.Entry) -> bool:
    size = megabytes(entry.size) if entry.size else "unknown size"
    meaning = in_plain_words(entry.license)
    license = f", license: {entry.license}{meaning and f' ({meaning})'}" if entry.license else ""
    console.note(f"{entry.name} is needed: {size} from {entry.urls[0]}{license}")
    try:
        return Confirm.ask(f"Download it to {weights.data_dir()}?", console=console.err, default=True)
    except EOFError:
        return False
