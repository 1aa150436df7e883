"""What a safetensors file says of itself, read without torch."""

import json
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

from sr_cli.errors import WeightsError

_LONGEST_HEADER = 100_000_000  # bytes; the limit that safetensors sets itself


def read_metadata(path: Path) -> dict[str, Any]:
    """The metadata in a safetensors file's header, each value decoded where it is JSON.

    Source: the format's description, https://huggingface.co/docs/safetensors

    Raises:
        WeightsError: the file is not of that format, or is shorter or longer than its header says.
    """
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > _LONGEST_HEADER:
                raise ValueError("its header is too long")
            header = json.loads(file.read(length))
        metadata = {key: _decoded(value) for key, value in header.pop("__metadata__", {}).items()}
        end = 8 + length + max((tensor["data_offsets"][1] for tensor in header.values()), default=0)
        if path.stat().st_size != end:
            raise ValueError(f"{path.stat().st_size} bytes where its header says {end}")
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, struct.error, AttributeError, KeyError, TypeError) as error:
        raise WeightsError(f"{path}: not a safetensors file, or a damaged one ({error})") from error
    return metadata


def is_whole(path: Path) -> bool:
    """Whether it is a safetensors file as long as its header says."""
    with suppress(WeightsError):
        read_metadata(path)
        return True
    return False


def _decoded(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return value
