"""Weights of the user's own: a name, a file, and an entry in the user's registry."""

import json
from dataclasses import fields, replace
from pathlib import Path

from sr_cli.errors import WeightsError
from sr_cli.system.atomic_files import write_atomically
from sr_cli.weights.locks import alone
from sr_cli.weights.progress import OnProgress, Patience, ignore
from sr_cli.weights.receipts import sha256_of
from sr_cli.weights.registry import Entry, entries, own_registry, refuse_shared_files, scale_in
from sr_cli.weights.store import bring, take_in


def adopt(
    new: Entry,
    *,
    source: Path | None = None,
    folder: Path | None = None,
    on_progress: OnProgress = ignore,
    patience: Patience | None = None,
) -> Path:
    """Take in weights of the user's own, from a file or from the entry's URLs, and note them in the user's registry.

    Nothing vouches for them but the user: where the entry has no hash, the hash of what came is noted, and holds from
    then on.

    Args:
        new: an entry whose name is not taken.
        source: the file; without it the entry's URLs are tried.

    Raises:
        WeightsError: the name is taken, the file cannot be read, or is not what the entry says.
        DownloadError, OutputError: see `fetch`.
    """
    _check_free(new)
    if source:
        path = take_in(new, source, folder=folder)
    else:
        path = bring(new, folder=folder, force=True, on_progress=on_progress, patience=patience)
    with alone(own_registry()):
        _check_free(new)
        scale = new.scale or (scale_in(path) if new.kind == "upscaler" else None)
        _append(replace(new, size=path.stat().st_size, sha256=sha256_of(path), scale=scale))
    return path


def _check_free(new: Entry) -> None:
    known = entries()
    if new.name in known:
        raise WeightsError(f"{new.name}: that name is taken; choose another one, or edit {own_registry()}")
    refuse_shared_files([*known.values(), new])


def _append(new: Entry) -> None:
    """Write an entry behind the others. A basic string of TOML is what JSON writes."""
    lines = [f"[{json.dumps(new.name)}]"]
    for field in fields(new):
        value = getattr(new, field.name)
        if field.name not in ("name", "path") and value not in (None, "", ()):
            lines.append(f"{field.name} = {json.dumps(value, ensure_ascii=False)}")
    path = own_registry()
    before = path.read_text("utf-8").rstrip() + "\n\n" if path.exists() else ""
    write_atomically(path, before.lstrip() + "\n".join(lines) + "\n")
