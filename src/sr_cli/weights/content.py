"""What a file holds by its content, as its suffix may say anything; and what a safetensors file says of itself."""

import json
import struct
import zipfile
from pathlib import Path
from typing import Any

from sr_cli.errors import WeightsError, reading

WEIGHTS = ("safetensors", "pickle", "ONNX")
"""What `content_of` says of weights; a zip archive that PyTorch wrote is a pickle too."""

_SIGNATURES = {
    b"version https://git-lfs": "a Git LFS pointer, not the file itself: run `git lfs pull`, or download the file",
    b"7767517": "the text of an ncnn model, which doesn't hold its weights",
    b"GGUF": "a GGUF file",
    b"\x89HDF": "an HDF5 file",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"\x1f\x8b": "a gzip archive: unpack it first",
    b"7z\xbc\xaf": "a 7z archive: unpack it first",
    b"Rar!": "a RAR archive: unpack it first",
}

_LONGEST_HEADER = 100_000_000  # bytes; the safetensors library has the same limit
MOST_TENSORS = 20_000
"""Of a file: the largest networks that people share have some 3,000."""


def content_of(path: Path) -> str:
    """One of `WEIGHTS`, or in words what else the file is, such as "an HTML page, not weights".

    Raises:
        WeightsError: the file cannot be read.
    """
    with reading(path, WeightsError):
        with path.open("rb") as file:
            start = file.read(512)
        size = path.stat().st_size
        if start.startswith(b"PK"):
            return _of_zip(path, size)
    if start[8:9] == b"{" and int.from_bytes(start[:8], "little") <= size:
        return "safetensors"
    if start[:1] == b"\x80" and start[1:2] in b"\x02\x03\x04\x05":
        return "pickle"
    for signature, meaning in _SIGNATURES.items():
        if start.startswith(signature):
            return meaning
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head", b"<script")):
        return "an HTML page, not weights: its address is that of a page about the file"
    if text[:1] in (b"{", b"["):
        return "JSON, not weights"
    if start[:1] == b"\x08" and start[1:2] < b"\x20":  # the field ir_version
        return "ONNX"
    if not text:
        return "empty"
    return "text, not weights" if text.isascii() and b"\0" not in text else "not weights, or damaged"


def _of_zip(path: Path, size: int) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            unpacked = sum(each.file_size for each in archive.infolist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        return "a damaged archive, or part of one"
    if any(name.endswith("constants.pkl") for name in names):
        return "a TorchScript program, which holds code: refused"
    if not any(name.endswith("data.pkl") for name in names):
        return "a zip archive: unpack it first"
    return "pickle" if unpacked <= 2 * size else "an archive that unpacks to more than twice its size: refused"


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
