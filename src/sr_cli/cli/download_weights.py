"""``sr download-weights``."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, cast

import typer

from sr_cli import console, weights
from sr_cli.console import weights as downloads
from sr_cli.errors import EXIT_SOME_FAILED, SrError, UsageError, WeightsError


def download_weights(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME", help="Which weights; see --list.", show_default=False)
    ] = None,
    *,
    everything: Annotated[bool, typer.Option("--all", help="All weights that there are.")] = False,
    listed: Annotated[bool, typer.Option("--list", help="Show names, kinds, sizes and states.")] = False,
    verify: Annotated[bool, typer.Option("--verify", help="Hash the files anew, and show what is damaged.")] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Delete the files.")] = False,
    source: Annotated[
        Path | None, typer.Option("--from", metavar="FILE", help="Take NAME from a file, not from the network.")
    ] = None,
    url: Annotated[str | None, typer.Option(metavar="URL", help="Download NAME from this URL.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Download even what is here and intact.")] = False,
    folder: Annotated[
        Path | None, typer.Option("--dir", metavar="DIR", help="The folder of the weights, instead of SR_DATA_DIR.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="With --list or --verify: print JSON.")] = False,
    kind: Annotated[
        str | None,
        typer.Option(
            metavar="KIND",
            help="With --from or --url: add weights of your own as NAME. loss-network, metric or upscaler.",
        ),
    ] = None,
    scale: Annotated[int | None, typer.Option(min=1, help="With --kind upscaler: the scale.")] = None,
    sha256: Annotated[str | None, typer.Option(metavar="HEX", help="With --kind: the hash to expect.")] = None,
) -> None:
    """Download weights, check them, and print where they are.

    A file gets its name when its size and SHA-256 are right; a broken download goes on where it stopped.

    SR_DATA_DIR names another folder for them; SR_OFFLINE=1 forbids the network.
    """
    looking = listed or verify
    _check_modes(
        {"--list or --verify": looking, "--remove": remove, "--from": source is not None, "--url": url is not None}
    )
    if as_json and not looking:
        raise UsageError("--json goes with --list or --verify")
    if kind is None and (scale is not None or sha256 is not None):
        raise UsageError("--scale and --sha256 describe weights of your own: give --kind too")
    folder = folder.expanduser().absolute() if folder else None
    if looking:
        _show(_chosen(names or (), everything=everything or not names), folder, verify=verify, as_json=as_json)
    elif kind is not None:
        _adopt(_only(names, everything), kind, source, url, folder, scale=scale, sha256=sha256)
    elif source is not None:
        _take_in(_only(names, everything), source, folder)
    elif url is not None:
        _fetch([_known(_only(names, everything))], folder, urls=[_checked(url)], force=force)
    elif remove:
        _remove(_chosen(names or (), everything=everything), folder)
    else:
        _fetch(_chosen(names or (), everything=everything), folder, urls=(), force=force)


def _check_modes(modes: dict[str, bool]) -> None:
    wanted = [mode for mode, is_wanted in modes.items() if is_wanted]
    if len(wanted) > 1:
        raise UsageError(f"{wanted[0]} and {wanted[1]} don't go together")


def _chosen(names: Sequence[str], *, everything: bool) -> list[weights.Entry]:
    """The entries that a command is about."""
    if everything and names:
        raise UsageError("--all and names don't go together")
    if everything:
        return list(weights.entries().values())
    if not names:
        raise UsageError("which weights? `sr download-weights --list` shows what there is; --all takes everything")
    return [weights.entry(name) for name in dict.fromkeys(names)]


def _only(names: Sequence[str] | None, everything: bool) -> str:
    if everything or not names or len(names) != 1:
        raise UsageError("--from, --url and --kind need exactly one NAME")
    return names[0]


def _known(name: str) -> weights.Entry:
    if name not in weights.entries():
        kinds = ", ".join(kind.replace(" ", "-") for kind in weights.KINDS)
        raise UsageError(f"no weights called {name!r}; to add your own under that name, give --kind ({kinds})")
    return weights.entry(name)


def _checked(url: str) -> str:
    try:
        weights.check_url(url)
    except ValueError as error:
        raise UsageError(str(error)) from error
    return url


def _show(chosen: Sequence[weights.Entry], folder: Path | None, *, verify: bool, as_json: bool) -> None:
    rows = [(entry, weights.state(entry, folder=folder, thorough=verify)) for entry in chosen]
    if as_json:
        downloads.print_json(rows, folder=folder)
    else:
        downloads.print_table(rows, folder=folder)
    corrupt = [entry.name for entry, state in rows if state == "corrupt"]
    if verify and corrupt:
        raise WeightsError(f"damaged: {', '.join(corrupt)}; `sr download-weights {' '.join(corrupt)}` brings them anew")


def _fetch(chosen: Sequence[weights.Entry], folder: Path | None, *, urls: Sequence[str], force: bool) -> None:
    """Bring the entries one after another; one that fails does not keep the others from arriving."""
    failed: list[SrError] = []
    for entry in chosen:
        if len(chosen) > 1 and not (entry.urls or entry.path):
            continue  # --all cannot bring what has no URL
        try:
            console.out.print(str(downloads.fetch(entry, folder=folder, urls=urls, force=force)), markup=False)
        except SrError as error:
            failed.append(error)
            if len(chosen) > 1:
                console.error(str(error))
    if failed and len(chosen) == 1:
        raise failed[0]
    if failed:
        raise typer.Exit(EXIT_SOME_FAILED)


def _take_in(name: str, source: Path, folder: Path | None) -> None:
    entry = _known(name)
    path = weights.add(name, source, folder=folder)
    if entry.sha256 is None:
        console.note(f"{name}: the registry has no hash to check it with; from now on it has to stay as it is")
    console.out.print(str(path), markup=False)


def _adopt(
    name: str,
    kind: str,
    source: Path | None,
    url: str | None,
    folder: Path | None,
    *,
    scale: int | None,
    sha256: str | None,
) -> None:
    if source is None and url is None:
        raise UsageError("--kind adds weights of your own: give --from FILE or --url URL too")
    origin = source.name if source else weights.file_of(url or "")
    try:
        new = weights.Entry(
            name=name,
            kind=cast(weights.Kind, kind.replace("-", " ")),
            file=name + Path(origin).suffix,
            urls=(url,) if url else (),
            scale=scale,
            sha256=sha256.lower() if sha256 else None,
        )
    except ValueError as error:
        raise UsageError(str(error)) from error
    with downloads.progress_of(new) as on_progress:
        path = weights.adopt(new, source=source, folder=folder, on_progress=on_progress)
    console.note(f"{name}: noted in {weights.own_registry()} with the SHA-256 {weights.entry(name).sha256}")
    console.out.print(str(path), markup=False)


def _remove(chosen: Sequence[weights.Entry], folder: Path | None) -> None:
    for entry in chosen:
        if len(chosen) > 1 and entry.path:
            continue  # --all means what can be removed
        path = weights.path_of(entry, folder=folder)
        if weights.remove(entry.name, folder=folder):
            console.note(f"removed {path}")
        elif len(chosen) == 1:
            console.note(f"{path}: nothing to remove")
