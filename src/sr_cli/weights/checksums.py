"""Checks that a file is what it should be."""

import hashlib
from pathlib import Path

from sr_cli.errors import WeightsError, reading
from sr_cli.weights.content import read_metadata

_CHUNK = 1 << 20  # bytes


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, as 64 lower-case hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def mismatch(path: Path, *, size: int | None, sha256: str | None) -> str | None:
    """How a file differs from what is expected, ``None`` if it does not; a safetensors file must also be complete.

    Args:
        size: in bytes; not checked if ``None``.
        sha256: not checked if ``None``.

    Raises:
        WeightsError: the file cannot be read.
    """
    with reading(path, WeightsError):
        if size not in (None, actual_size := path.stat().st_size):
            return f"it has {actual_size} bytes, expected {size}"
        if sha256 is not None and sha256 != (actual := sha256_of(path)):
            return f"its SHA-256 is {actual}, expected {sha256}"
    try:
        if path.suffix == ".safetensors":
            read_metadata(path)
    except WeightsError:
        return "it is not a safetensors file, or damaged"
    return None
