"""A file on its way: the bytes that have arrived, and which version of which URL they belong to."""

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from sr_cli.system.atomic_files import write_atomically

if TYPE_CHECKING:
    import requests


class Partial:
    """``.NAME.part`` with the bytes and ``.NAME.part.json`` with their label, beside the file that they will be.

    Args:
        target: the file that it will be.
        sha256: what the whole file should have; what belongs to another hash is thrown away.
    """

    def __init__(self, target: Path, sha256: str | None) -> None:
        self.path, self._label_path = self.files(target)
        self._sha256 = sha256
        self._label = self._read_label()
        if not self._label or self._label.get("sha256") != sha256:
            self.discard()
        self.patched = self.size > 0
        """Whether the present bytes came in more than one response, as far as we know."""

    @staticmethod
    def files(target: Path) -> tuple[Path, Path]:
        """The two files that a broken transfer leaves."""
        return target.with_name(f".{target.name}.part"), target.with_name(f".{target.name}.part.json")

    @property
    def size(self) -> int:
        """Bytes that have arrived."""
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0

    def request_headers(self, url: str) -> dict[str, str]:
        """Headers that ask for the rest (RFC 9110, sections 13.1.5 and 14.2); none where nothing could tell if it fits.

        A version that the same URL named makes the server send the whole file if that version is gone. Without one,
        pieces are put together only if the hash of the whole will tell whether they belong together.
        """
        if not self.size:
            return {}
        rest = {"Range": f"bytes={self.size}-"}
        version = self._label.get("version")
        if version and self._label.get("url") == url:
            return {**rest, "If-Range": version}
        return rest if self._sha256 else {}

    def begin(self, url: str, response: "requests.Response") -> None:
        """Throw away what there is; what follows belongs to this response."""
        self.discard()
        etag = response.headers.get("ETag", "")
        strong = etag if etag.startswith('"') else None
        version = strong or response.headers.get("Last-Modified")
        self._label = {"url": url, "version": version, "sha256": self._sha256}
        write_atomically(self._label_path, json.dumps(self._label))

    def discard(self) -> None:
        """Throw away what there is."""
        self.path.unlink(missing_ok=True)
        self._label_path.unlink(missing_ok=True)
        self._label = {}
        self.patched = False

    def become(self, target: Path) -> None:
        """Give the file its name, once its bytes are on the disk."""
        with self.path.open("rb") as file:
            os.fsync(file.fileno())
        self.path.replace(target)
        self.discard()

    def _read_label(self) -> dict[str, str | None]:
        with suppress(OSError, ValueError):
            label = json.loads(self._label_path.read_text("utf-8"))
            return label if isinstance(label, dict) else {}
        return {}
