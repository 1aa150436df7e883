"""Weights on the console: a download's progress, the question before it, and the list of what there is."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.prompt import Confirm
from rich.table import Table

from sr_cli import console, weights
from sr_cli.errors import WeightsError


def obtain(name: str, kind: weights.Kind) -> Path:
    """The path of weights that a command needs; missing ones are downloaded, on a terminal after a question.

    Raises:
        WeightsError: the name is unknown, the answer is no, or ``SR_OFFLINE`` is set.
        DownloadError, OutputError: see `weights.fetch`.
    """
    entry = weights.entry(name, kind=kind)
    if weights.state(entry) in ("shipped", "cached") or weights.offline() or not entry.urls:
        return weights.locate(name, kind=kind)
    if console.on_a_terminal() and not _agreed(entry):
        raise WeightsError(f"{name} is needed. {weights.remedy(entry)}")
    return fetch(entry)


def fetch(entry: weights.Entry, *, folder: Path | None = None, urls: Sequence[str] = (), force: bool = False) -> Path:
    """`weights.fetch` with its progress shown, and a word on how it ended."""
    path, state = weights.path_of(entry, folder=folder), weights.state(entry, folder=folder)
    if state in ("shipped", "cached") and not force:
        console.note(f"{entry.name}: already here, and intact")
        return path
    if state == "corrupt":
        console.note(f"{entry.name}: {path} is damaged; downloading it anew")
    with progress_of(entry) as on_progress:
        weights.fetch(entry.name, folder=folder, urls=urls, force=force, on_progress=on_progress)
    console.note(f"{entry.name}: downloaded; {'its SHA-256 is right' if entry.sha256 else 'its SHA-256 is noted'}")
    return path


@contextmanager
def progress_of(entry: weights.Entry) -> Iterator[weights.OnProgress]:
    """A place to report a download's progress to: a bar on a terminal, elsewhere a plain line for each quarter."""
    try:
        if console.err.is_terminal:
            with _bar() as bar:
                yield _drawing(bar, entry)
        else:
            yield _telling(entry)
    except KeyboardInterrupt:
        console.note(f"{entry.name}: stopped; what has arrived is kept, and the same command goes on from there")
        raise


def _drawing(bar: Progress, entry: weights.Entry) -> weights.OnProgress:
    task = bar.add_task(entry.name, total=entry.size, start=False)

    def draw(progress: weights.Progress) -> None:
        if progress.note:
            console.note(f"{entry.name}: {progress.note}")
            return
        bar.start_task(task)
        bar.update(task, completed=progress.done, total=progress.total)

    return draw


def _telling(entry: weights.Entry) -> weights.OnProgress:
    quarters = [0]

    def tell(progress: weights.Progress) -> None:
        if progress.note:
            console.note(f"{entry.name}: {progress.note}")
        elif progress.total and progress.done * 4 // progress.total > quarters[-1]:
            quarters.append(progress.done * 4 // progress.total)
            console.note(f"{entry.name}: {_size(progress.done)} of {_size(progress.total)}")

    return tell


Rows = Sequence[tuple[weights.Entry, weights.State]]


def print_table(rows: Rows, *, folder: Path | None = None) -> None:
    """Print the entries with their states, and the folder where they lie."""
    drawn = Table(box=None, pad_edge=False)
    for column in ("name", "kind", "scale", "size", "state"):
        drawn.add_column(column, justify="right" if column in ("scale", "size") else "left", no_wrap=True)
    for entry, state in rows:
        scale = f"x{entry.scale}" if entry.scale else "-"
        path = weights.path_of(entry, folder=folder)
        size = path.stat().st_size if path.is_file() else entry.size
        drawn.add_row(entry.name, entry.kind, scale, _size(size) if size else "-", state)
    console.out.print(drawn)
    console.note(f"folder: {folder or weights.data_dir()}")


def print_json(rows: Rows, *, folder: Path | None = None) -> None:
    """Print the entries with all that is known of them, as a JSON list."""
    listed = []
    for entry, state in rows:
        path = weights.path_of(entry, folder=folder)
        listed.append({**asdict(entry), "path": str(path), "state": state})
    console.out.print(json.dumps(listed, indent=2), markup=False)


def _agreed(entry: weights.Entry) -> bool:
    license = f", license: {entry.license}" if entry.license else ""
    console.note(f"{entry.name} is needed: {_size(entry.size)} from {entry.urls[0]}{license}")
    try:
        return Confirm.ask(f"Download it to {weights.path_of(entry).parent}?", console=console.err, default=True)
    except EOFError:
        return False


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console.err,
        transient=True,
    )


def _size(size: int | None) -> str:
    if size is None:
        return "unknown size"
    return f"{size / 1e6:.0f} MB" if size >= 10e6 else f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.1f} kB"
