"""The record of a long job: a row a picture, appended as results come, from which the next run goes on."""

import json
import secrets
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from sr_cli.errors import ImageError, OutputError, UsageError, reading
from sr_cli.system.atomic_files import writing
from sr_cli.upscaling.batch.results import Result
from sr_cli.upscaling.batch.stores import StorePath, any_path, attempt, entries, is_url, upload

_ROWS, _SECONDS = 1000, 60
"""A part of a manifest is written after so many rows, or so long after the one before."""


def row_of(result: Result) -> dict[str, Any]:
    """The row of a result; sizes in pixels, ``None`` where there is none."""
    sizes = [*(result.input_size or (None, None)), *(result.output_size or (None, None))]
    return {
        "input": result.input,
        "output": result.output,
        "status": result.status,
        **dict(zip(("input_width", "input_height", "output_width", "output_height"), sizes, strict=True)),
        "seconds": result.seconds,
        "error": result.error,
        "sha256": result.sha256,
    }


class Manifest:
    """JSON lines in one file on this machine; Parquet, and anything in a store, as a folder of parts.

    A part appears complete or not at all. What was not yet in one when the process was killed is lost from the record,
    not from the results. Several processes may add to one manifest.

    Args:
        name: ends in ``.jsonl`` or ``.parquet``; a path or a URL.

    Attributes:
        done: the outputs that are there according to earlier runs.

    Raises:
        UsageError: the name ends otherwise, or pyarrow is missing.
        ImageError: what is there cannot be read.
    """

    def __init__(self, name: str) -> None:
        self._is_parquet = name.endswith(".parquet")
        if not self._is_parquet and not name.endswith(".jsonl"):
            raise UsageError(f"--manifest {name}: must end in .jsonl or .parquet")
        if self._is_parquet:
            try:
                import pyarrow.parquet  # noqa: F401
            except ImportError as error:
                raise UsageError(f"--manifest {name}: needs a package: python -m pip install pyarrow") from error
        self._file = None if self._is_parquet or is_url(name) else Path(name)
        folder = any_path(name if is_url(name) else Path(name).resolve().as_uri())
        assert isinstance(folder, StorePath)
        self._folder, self._name = folder, name
        self._rows: list[dict[str, Any]] = []
        self._is_torn = False  # whether a kill has cut the last line off
        self._written = time.monotonic()
        self.done = {row["output"] for row in self._read() if row["status"] in ("done", "skipped")}

    def __enter__(self) -> "Manifest":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._write()

    def add(self, result: Result) -> None:
        """Record a result, unless an earlier run has; an `OutputError` if the manifest cannot be written."""
        if result.status == "skipped" and result.output in self.done:
            return
        self._rows.append(row_of(result))
        if self._file or len(self._rows) >= _ROWS or time.monotonic() - self._written > _SECONDS:
            self._write()

    def _read(self) -> Iterator[dict[str, Any]]:
        if self._file:
            with reading(self._file, ImageError):
                content = self._file.read_bytes() if self._file.exists() else b""
            self._is_torn = bool(content) and not content.endswith(b"\n")
            yield from _rows_of(content.splitlines())
            return
        names, _ = entries(self._folder)
        if names == [self._folder.name]:
            raise UsageError(f"--manifest {self._name}: is a file; this kind of manifest is a folder of parts")
        for part in (self._folder / name for name in names if name.startswith("part-")):
            content = attempt(lambda part=part: part.store.cat_file(part.path), part, ImageError)  # type: ignore[misc]
            if self._is_parquet:
                import pyarrow
                from pyarrow import parquet

                yield from parquet.read_table(pyarrow.BufferReader(content), columns=["output", "status"]).to_pylist()
            else:
                yield from _rows_of(content.splitlines())

    def _write(self) -> None:
        rows, self._rows, self._written = self._rows, [], time.monotonic()
        if not rows:
            return
        lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
        if self._file:
            with writing(self._file):
                self._file.parent.mkdir(parents=True, exist_ok=True)
                with self._file.open("ab") as file:
                    file.write(b"\n" * self._is_torn + lines)
            self._is_torn = False
            return
        part = self._folder / f"part-{time.time_ns():020}-{secrets.token_hex(4)}{Path(self._name).suffix}"
        with tempfile.NamedTemporaryFile(prefix="sr-") as local:
            if self._is_parquet:
                _write_parquet(rows, local.name)
            else:
                local.write(lines)
                local.flush()
            upload(Path(local.name), part)


def _rows_of(lines: list[bytes]) -> Iterator[dict[str, Any]]:
    """The rows of JSON lines; one that a kill has cut off is left out."""
    for line in lines:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and {"output", "status"} <= row.keys():
            yield row


def _write_parquet(rows: list[dict[str, Any]], file: str) -> None:
    import pyarrow
    from pyarrow import parquet

    whole = ("input_width", "input_height", "output_width", "output_height")
    kinds = {name: pyarrow.int32() if name in whole else pyarrow.string() for name in rows[0]}
    schema = pyarrow.schema({**kinds, "seconds": pyarrow.float64()})
    try:
        parquet.write_table(pyarrow.Table.from_pylist(rows, schema=schema), file)
    except OSError as error:
        raise OutputError(f"{file}: cannot be written ({error})") from error
