"""How ``sr models`` looks."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.markup import escape
from rich.table import Table

from sr_cli import console, weights
from sr_cli.system.quantities import megabytes


def show(models: Iterable[Mapping[str, Any]]) -> None:
    """Print a row for each model."""
    table = Table(box=None, pad_edge=False)
    for column in ("model", "scale", "size", "state", "for"):
        table.add_column(column, justify="right" if column in ("scale", "size") else "left", no_wrap=column != "for")
    for model in models:
        scale = f"x{model['scale']}" if model["scale"] else ""
        size = megabytes(model["size"]) if model["size"] else ""
        note = re.sub(r", \w+ times larger| \(\w+ loss\)", "", model["note"])  # `sr models NAME` has all of it
        table.add_row(escape(model["name"]), scale, size, model["state"], escape(note))
    console.out.print(table)
    console.note("`sr upscale` takes what suits the picture; `sr models --catalog` lists models of others")


def show_catalog(models: Sequence[tuple[weights.Entry, weights.State]], *, of: int) -> None:
    """Print a row for each model that a search found, with a star at those that are here."""
    titles = ("model", "scale", "architecture", "size", "license", "for")
    rows = [
        (
            entry.name + " *" * (state == "cached"),
            f"x{entry.scale}",
            entry.architecture,
            megabytes(entry.size) if entry.size else "",
            entry.license,
            ", ".join(entry.tags),
        )
        for entry, state in models
    ]
    widths = {title: max(map(len, (title, *cells))) for title, *cells in zip(titles, *rows, strict=True)}
    if console.out.is_terminal:  # where it is narrow, purposes are cut or left out, then names are folded
        room = console.out.width - sum(widths.values()) - 2 * len(widths)
        widths["for"] += min(room, 0)
        if widths["for"] < len("for"):
            widths["model"] = max(12, widths["model"] + widths.pop("for") + 2)
    table = Table(box=None, pad_edge=False)
    for title, width in widths.items():
        table.add_column(
            title, width=width, no_wrap=title == "for", overflow="fold", justify="right" if title == "size" else "left"
        )
    for row in rows:
        table.add_row(*map(escape, row[: len(widths)]))
    if models:
        console.print_whole(table)
    star = "* is here; " if any(state == "cached" for _, state in models) else ""
    console.note(f"{len(models)} of {of} models; {star}`sr models NAME` shows one, `sr download-weights` gets it")


def show_one(facts: Mapping[str, Any]) -> None:
    """Print what is known of a model, a line for each fact."""
    license = " – ".join(filter(None, (facts.get("license"), facts.get("license_in_plain_words"))))
    speed, guess = facts.get("seconds_per_megapixel"), facts.get("estimated_seconds_per_megapixel")
    time = f"about {_rounded(guess)} per megapixel of the result here, to judge by its size" if guess else None
    lines = {
        "model": facts["name"],
        "scale": f"x{facts['scale']}" if facts.get("scale") else None,
        "architecture": facts.get("architecture"),
        "author": facts.get("author"),
        "date": facts.get("date"),
        "license": license,
        "for": facts.get("note") or ", ".join(facts.get("tags", ())),
        "size": megabytes(facts["size"]) if facts.get("size") else None,
        "SHA-256": facts.get("sha256"),
        "from": ", ".join(facts.get("urls", ())) or facts.get("source"),
        "state": "not downloaded" if facts["state"] == "missing" else facts["state"],
        "file": facts["path"],
        "time": f"{speed:g} s per megapixel of the result, on {facts['device']}" if speed else time,
    }
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in lines.items():
        if value:
            table.add_row(name, escape(str(value)))
    console.print_whole(table)
    if facts["state"] == "missing":
        by_hand = "" if facts.get("urls") else f" --from FILE, with the file of {facts.get('source', 'its author')}"
        console.note(f"to get it: sr download-weights {facts['name']}{by_hand}")


def _rounded(seconds: float) -> str:
    if seconds < 99:
        return f"{seconds:.2g} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.0f} h"
