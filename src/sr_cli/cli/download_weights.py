"""``sr download-weights``."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from sr_cli import console, weights
from sr_cli.cli.completion import completer
from sr_cli.console import weights as view
from sr_cli.errors import EXIT_SOME_FAILED, SrError, UsageError, WeightsError, as_usage_error


def download_weights(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME",
            help="Names of weights; see --list, and sr models --catalog.",
            show_default=False,
            autocompletion=completer("names"),
        ),
    ] = None,
    *,
    everything: Annotated[bool, typer.Option("--all", help="All weights that --list names.")] = False,
    listed: Annotated[bool, typer.Option("--list", help="List names, kinds, sizes and states.")] = False,
    verify: Annotated[bool, typer.Option("--verify", help="Check every SHA-256, and list what is damaged.")] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Delete the files.")] = False,
    source: Annotated[
        Path | None,
        typer.Option(
            "--from", metavar="FILE", help="Copy FILE instead of downloading; a new NAME adds your own weights."
        ),
    ] = None,
    url: Annotated[
        str | None, typer.Option(metavar="URL", help="Download from URL; a new NAME adds your own weights.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Download again even if the file is intact.")] = False,
    folder: Annotated[
        Path | None, typer.Option("--dir", metavar="DIR", envvar="SR_DATA_DIR", help="Folder of the weights.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="With --list or --verify: print JSON.")] = False,
) -> None:
    """Download weights, verify them, and print their paths.

    A file appears once its size and SHA-256 are right; an interrupted download resumes where it stopped.

    SR_OFFLINE=1 forbids downloads.
    """
    names = names or []
    modes = {"--list or --verify": listed or verify, "--remove": remove, "--from": source, "--url": url}
    chosen = [mode for mode, value in modes.items() if value]
    if len(chosen) > 1:
        raise UsageError(f"{chosen[0]} and {chosen[1]} exclude each other")
    if as_json and not (listed or verify):
        raise UsageError("--json needs --list or --verify")
    if everything and names:
        raise UsageError("--all and names exclude each other")
    if (source or url) and len(names) != 1:
        raise UsageError("--from and --url need exactly one NAME")
    if not (names or everything or listed or verify):
        raise UsageError("name the weights: `sr download-weights --list` shows which there are, --all takes all")
    if folder:
        os.environ["SR_DATA_DIR"] = str(folder)
    if source:
        console.out.print(str(weights.add(names[0], source)), markup=False)
    elif url:
        _download_from(url, names[0], force=force)
    else:
        entries = [weights.entry(name) for name in dict.fromkeys(names)] if names else [*weights.entries().values()]
        if listed or verify:
            _list(entries, verify=verify, as_json=as_json)
        elif remove:
            _remove(entries)
        else:
            _download([each for each in entries if names or each.urls or each.path], force=force)


def _list(entries: Sequence[weights.Entry], *, verify: bool, as_json: bool) -> None:
    rows = [(entry, weights.state(entry, verify=verify)) for entry in entries]
    (view.print_json if as_json else view.print_table)(rows)
    corrupt = " ".join(entry.name for entry, state in rows if state == "corrupt")
    if verify and corrupt:
        raise WeightsError(f"damaged: {corrupt}; run `sr download-weights {corrupt} --force` to replace the files")


def _download(entries: Sequence[weights.Entry], *, force: bool) -> None:
    """Download one entry after another; a failure does not stop the others."""
    failed: list[SrError] = []
    for entry in entries:
        try:
            console.out.print(str(view.fetch(entry, force=force)), markup=False)
        except SrError as error:
            if len(entries) == 1:
                raise
            failed.append(error)
            console.error(str(error))
    if failed:
        raise typer.Exit(EXIT_SOME_FAILED)


def _download_from(url: str, name: str, *, force: bool) -> None:
    with as_usage_error():
        entry = replace(weights.entry_or_new(name, url), urls=(url,))
    is_new = entry.sha256 is None and entry.name not in weights.entries()
    fetch = view.fetch_new if is_new else view.fetch
    console.out.print(str(fetch(entry, force=force)), markup=False)


def _remove(entries: Sequence[weights.Entry]) -> None:
    for entry in entries:
        if len(entries) > 1 and entry.path:
            continue  # --all skips what ships with the package
        was_here = weights.remove(entry.name)
        if was_here or len(entries) == 1:
            console.note(f"{weights.path_of(entry)}: {'removed' if was_here else 'nothing to remove'}")
