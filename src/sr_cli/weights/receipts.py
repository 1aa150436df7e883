"""Receipts: the hash that a file was found right with, and its size and time then, so that it is hashed but once.

A receipt is ``.NAME.receipt`` beside the file, in JSON. For weights whose hash nobody has published it is also what
the next download is held against.
"""

import hashlib
import json
from contextlib import suppress
from pathlib import Path

from sr_cli.errors import OutputError, WeightsError
from sr_cli.system.atomic_files import write_atomically


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def receipt_of(path: Path) -> Path:
    """Where the file's receipt is, or would be."""
    return path.with_name(f".{path.name}.receipt")


def receipted_hash(path: Path) -> str | None:
    """The hash on the file's receipt, if there is one."""
    with suppress(OSError, ValueError, AttributeError):
        sha256 = json.loads(receipt_of(path).read_text("utf-8")).get("sha256")
        return sha256 if isinstance(sha256, str) else None
    return None


def is_right(path: Path, sha256: str | None, *, thorough: bool = False) -> bool:
    """Whether a file has the hash that it should; what is found goes on its receipt.

    Args:
        path: a file.
        sha256: what it should be; ``None``: what is on its receipt, or, without one, whatever it is.
        thorough: hash the file even if its size and time are those on the receipt.

    Raises:
        WeightsError: the file cannot be read.
    """
    expected = sha256 or receipted_hash(path)
    try:
        if not thorough and _read(path) == _stamp(path, expected):
            return True
        actual = sha256_of(path)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror})") from error
    if expected not in (None, actual):
        _write(path, {"sha256": expected})
        return False
    write_receipt(path, actual)
    return True


def write_receipt(path: Path, sha256: str) -> None:
    """Note that the file as it is now has this hash. In a read-only folder nothing is noted."""
    _write(path, _stamp(path, sha256))


def _stamp(path: Path, sha256: str | None) -> dict[str, object]:
    stat = path.stat()
    return {"sha256": sha256, "size": stat.st_size, "mtime_ns": stat.st_mtime_ns}


def _read(path: Path) -> object:
    with suppress(OSError, ValueError):
        return json.loads(receipt_of(path).read_text("utf-8"))
    return None


def _write(path: Path, receipt: dict[str, object]) -> None:
    with suppress(OutputError):
        write_atomically(receipt_of(path), json.dumps(receipt))
