"""Whether a file has the size and the SHA-256 that it should have."""

import hashlib
from pathlib import Path

from sr_cli.errors import WeightsError

_CHUNK = 1 << 20  # bytes


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, as 64 lower-case hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def mismatch(path: Path, *, size: int | None, sha256: str | None) -> str | None:
    """How a file differs from what is expected of it; ``None`` if it does not. What is ``None`` is not checked.

    Raises:
        WeightsError: the file cannot be read.
    """
    try:
        if size not in (None, actual_size := path.stat().st_size):
            return f"it has {actual_size} bytes, expected {size}"
        if sha256 is not None and sha256 != (actual := sha256_of(path)):
            return f"its SHA-256 is {actual}, expected {sha256}"
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror})") from error
    return None
