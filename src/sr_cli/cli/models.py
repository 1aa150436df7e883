"""``sr models``."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sr_cli import weights
from sr_cli.cli.completion import completer
from sr_cli.cli.options import option
from sr_cli.config import DEFAULT_MODEL
from sr_cli.console import models as view
from sr_cli.errors import UsageError
from sr_cli.weights import catalog

if TYPE_CHECKING:
    from sr_cli.upscaling.upscaler import Upscaler

CATALOG = "Catalog"
_ALIKE = ("compact", "rcan", ("esrgan", 4), ("esrgan", 8))  # smaller scales of ESRGAN may begin by halving the picture


def models(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME|WORDS",
            help="A model to show; with --catalog, words to search for.",
            show_default=False,
            autocompletion=completer("names"),
        ),
    ] = None,
    *,
    in_catalog: Annotated[
        bool, option("Search community models that can be downloaded.", CATALOG, "--catalog")
    ] = False,
    tag: Annotated[
        list[str] | None, option("For this purpose: photo, anime, …", CATALOG, "--tag", metavar="TAG")
    ] = None,
    scale: Annotated[int | None, option("Of this scale.", CATALOG, "--scale", metavar="N")] = None,
    license: Annotated[
        str | None,
        option("free: commercial use allowed; or the beginning of a name.", CATALOG, "--license", metavar="free|NAME"),
    ] = None,
    architecture: Annotated[str | None, option("Of this kind.", CATALOG, "--architecture", metavar="NAME")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the models, show one, or search for others.

    They are what --model takes; --catalog has 250 models of the community, which can be downloaded.
    """
    wanted = {"tag": tag, "scale": scale, "license": license, "architecture": architecture}
    if in_catalog:
        _search(words or [], wanted, as_json=as_json)
    elif any(value is not None for value in wanted.values()):
        raise UsageError("--tag, --scale, --license and --architecture need --catalog")
    elif words:
        for name in words:
            _show(name, as_json=as_json)
    else:
        _list(as_json=as_json)


def _list(*, as_json: bool) -> None:
    rows = [
        {
            "name": entry.name,
            "scale": entry.scale,
            "size": entry.size,
            "state": weights.state(entry),
            "default": entry.name == DEFAULT_MODEL,
            "note": entry.note or ", ".join(entry.tags),
            "license": entry.license,
        }
        for entry in weights.entries().values()
        if entry.kind == "upscaler"
    ]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    else:
        view.show(sorted(rows, key=lambda row: str(row["note"]).startswith("comparison")))


def _search(words: list[str], wanted: dict[str, Any], *, as_json: bool) -> None:
    known = weights.entries()
    entries = [known.get(name) or weights.catalog_entry(name) for name in catalog.tables()]
    found = [each for each in entries if _fits(each, words, wanted)]
    tags = {tag for each in entries for tag in each.tags}
    if unknown := [tag for tag in wanted["tag"] or () if tag.lower() not in tags]:
        raise UsageError(f"--tag {unknown[0]}: no model has it; the tags are {', '.join(sorted(tags))}")
    if as_json:
        typer.echo(json.dumps([_facts(each) for each in found], indent=2))
    else:
        view.show_catalog([(each, weights.state(each)) for each in found], of=len(entries))


def _fits(entry: weights.Entry, words: list[str], wanted: dict[str, Any]) -> bool:
    license, architecture = (wanted["license"] or "").lower(), catalog.plain(wanted["architecture"] or "")
    text = catalog.plain(" ".join([entry.name, *entry.urls, entry.author, entry.architecture, *entry.tags]))
    is_free = catalog.allows_commerce(entry.license)
    return (
        (is_free if license == "free" else entry.license.lower().startswith(license))
        and all(catalog.plain(word) in text for word in words)
        and all(each.lower() in entry.tags for each in wanted["tag"] or ())
        and wanted["scale"] in (None, entry.scale)
        and catalog.plain(entry.architecture).startswith(architecture)
    )


def _show(name: str, *, as_json: bool) -> None:
    entry = weights.entry(name)
    facts = _facts(entry)
    if facts["state"] in ("shipped", "cached") and entry.kind == "upscaler":
        upscaler, facts["seconds_per_megapixel"] = _time(entry.name)
        facts |= {"scale": upscaler.scale, "device": str(upscaler.device)}
    elif entry.size and entry.scale and (entry.architecture in _ALIKE or (entry.architecture, entry.scale) in _ALIKE):
        # All its weights work at the resolution of LR, as those of ours, and a file has four bytes for each.
        ours, seconds = _time(DEFAULT_MODEL)
        weights_a_pixel = entry.size / 4 / entry.scale**2 * ours.scale**2
        known = sum(each.numel() for each in ours.network.parameters())
        facts["estimated_seconds_per_megapixel"] = round(seconds * weights_a_pixel / known, 2)
    if as_json:
        typer.echo(json.dumps(facts, indent=2))
    else:
        view.show_one(facts)


def _time(name: str) -> "tuple[Upscaler, float]":
    """A model, and the seconds that it takes here for a megapixel of its result."""
    from sr_cli.upscaling.batch.dry_run import measure_speed
    from sr_cli.upscaling.upscaler import Upscaler

    upscaler = Upscaler.from_pretrained(name)
    return upscaler, round(measure_speed(upscaler, side=64) * 1e6 / upscaler.scale**2, 2)


def _facts(entry: weights.Entry) -> dict[str, Any]:
    facts = asdict(entry) | {
        "license_in_plain_words": catalog.in_plain_words(entry.license),
        "state": weights.state(entry),
        "path": str(weights.path_of(entry)),
    }
    return {key: value for key, value in facts.items() if value not in ("", (), None)}
