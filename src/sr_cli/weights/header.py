"""The metadata in the header of a safetensors file, read without torch."""

import json
import struct
from pathlib import Path
from typing import Any

from sr_cli.errors import WeightsError, reading

_LONGEST_HEADER = 100_000_000  # bytes; the safetensors library has the same limit
MOST_TENSORS = 20_000
"""Of a file: the largest networks that people share have some 3,000."""


def read_metadata(path: Path) -> dict[str, Any]:
    """The metadata in the header of a safetensors file; values that are JSON are decoded.

    Source: the format's description, https://huggingface.co/docs/safetensors

    Raises:
        WeightsError: the file is not a safetensors file, or does not have the size that its header states.
    """
    try:
        with reading(path, WeightsError), path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > _LONGEST_HEADER:
                raise ValueError("its header is too long")
            header = json.loads(file.read(length))
        if len(header) > MOST_TENSORS:
            raise ValueError(f"it holds {len(header):,} tensors, more than any network")
        metadata = {key: _decode(value) for key, value in header.pop("__metadata__", {}).items()}
        end = 8 + length + max((tensor["data_offsets"][1] for tensor in header.values()), default=0)
        if path.stat().st_size != end:
            raise ValueError(f"{path.stat().st_size} bytes where its header says {end}")
    except (ValueError, struct.error, AttributeError, LookupError, TypeError, RecursionError) as error:
        raise WeightsError(f"{path}: not a safetensors file, or damaged ({error})") from error
    return metadata


def _decode(value: str) -> Any:
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value
