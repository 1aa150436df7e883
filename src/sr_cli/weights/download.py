"""Download one file: resume where a connection broke, and try the next URL where one fails."""

import errno
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from sr_cli.errors import DownloadError, OutputError
from sr_cli.system.atomic_files import write_atomically
from sr_cli.system.quantities import megabytes
from sr_cli.weights import http
from sr_cli.weights.checksums import sha256_of
from sr_cli.weights.content import WEIGHTS, content_of
from sr_cli.weights.http import ConnectionBrokenError, URLError
from sr_cli.weights.registry import Entry, without_password
from sr_cli.weights.types import DEFAULT_RETRIES, LEAST_PROGRESS, OnProgress, Progress, RetryPolicy


def download(
    entry: Entry, target: Path, *, on_progress: OnProgress = lambda _: None, retries: RetryPolicy = DEFAULT_RETRIES
) -> None:
    """Download a file atomically; what arrives of it before a failure is kept for the next call.

    A broken download resumes where it stopped, in this call or a later one, if the server supports that and still has
    the same version; otherwise it starts over. Parts from different URLs are put together only if the entry has a
    hash, which tells whether they fit. The caller makes sure that no other process downloads the file too.

    Args:
        entry: its URLs are tried in order; size and hash are checked where known.
        target: the file, in a folder that exists; it is replaced.

    Raises:
        DownloadError: every URL failed; the message says why each did.
        OutputError: the disk is full, or the folder cannot be written.
    """
    reasons: list[str] = []
    with _disk_errors(target), http.open_session(retries) as session:
        transfer = _Transfer(entry, _Partial(target, entry.sha256), on_progress, retries, session)
        for url in entry.urls:
            if reasons:
                transfer.note(f"{reasons[-1]}; trying the next URL")
            try:
                transfer.run(url)
            except URLError as error:
                reasons.append(f"{without_password(url)}: {error}")
            else:
                transfer.partial.move_to(target)
                return
    raise DownloadError("; ".join(reasons))


class _Partial:
    """The bytes that have arrived, with a label of the URL and the version they are from.

    Args:
        target: the file that they will become.
        sha256: of the whole file; bytes that were meant for another hash are discarded.
    """

    def __init__(self, target: Path, sha256: str | None) -> None:
        self.path = target.with_name(f".{target.name}.part")
        self._label_path = target.with_name(f".{target.name}.part.json")
        self._sha256 = sha256
        self._label: dict[str, Any] = {}
        with suppress(OSError, ValueError):
            self._label = dict(json.loads(self._label_path.read_text("utf-8")))
        if not self._label or self._label.get("sha256") != sha256:
            self.discard()
        self.is_pieced = self.size > 0  # the bytes may be of more than one response

    @property
    def size(self) -> int:
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0

    def range_headers(self, url: str) -> dict[str, str]:
        """Headers that request the rest (RFC 9110, sections 13.1.5 and 14.2).

        If-Range makes the server send the whole file if the version has changed. Without a known version, the rest
        is requested only if a hash will tell whether it fits.
        """
        if not self.size:
            return {}
        rest = {"Range": f"bytes={self.size}-"}
        version = self._label.get("version")
        if version and self._label.get("url") == url:
            return {**rest, "If-Range": version}
        return rest if self._sha256 else {}

    def restart(self, url: str, response: requests.Response, total: int | None) -> None:
        """Discard what there is, and label what follows with the response's version and size."""
        self.discard()
        self._label = {"url": url, "version": _version(response), "total": total, "sha256": self._sha256}
        write_atomically(self._label_path, json.dumps(self._label))

    def fits(self, response: requests.Response, total: int | None) -> bool:
        """Whether a further part is of the version and size that the label names; a hash would tell later."""
        stated = ((_version(response), self._label.get("version")), (total, self._label.get("total")))
        return self._sha256 is not None or not any(new and old and new != old for new, old in stated)

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)
        self._label_path.unlink(missing_ok=True)
        self._label = {}
        self.is_pieced = False

    def move_to(self, target: Path) -> None:
        with self.path.open("rb") as file:
            os.fsync(file.fileno())
        self.path.replace(target)
        self.discard()


def _version(response: requests.Response) -> str | None:
    """What tells this version of a file from others (RFC 9110, section 8.8)."""
    etag = response.headers.get("ETag", "")
    return etag if etag.startswith('"') else response.headers.get("Last-Modified")


@dataclass
class _Transfer:
    entry: Entry
    partial: _Partial
    on_progress: OnProgress
    retries: RetryPolicy
    session: requests.Session

    def run(self, url: str) -> None:
        """Complete the partial file from one URL."""
        while True:
            self._complete(url)
            digest = sha256_of(self.partial.path) if self.entry.sha256 else None
            if digest is None and (content := content_of(self.partial.path)) not in WEIGHTS:
                self.partial.discard()
                raise URLError(f"the file is {content}")
            if digest == self.entry.sha256:
                return
            was_pieced = self.partial.is_pieced
            self.partial.discard()
            if not was_pieced:
                raise URLError(f"the file has SHA-256 {digest}, expected {self.entry.sha256}")
            self.note("the parts do not fit together; starting over")

    def _complete(self, url: str) -> None:
        """Request the file, and its rest whenever the connection breaks."""
        failures, most = 0, self.partial.size
        while self.entry.size is None or self.partial.size != self.entry.size:
            self._check_space(self.entry.size)
            try:
                with http.request(self.session, url, self.partial.range_headers(url), self.retries) as response:
                    self._receive(url, response)
                return
            except ConnectionBrokenError as error:
                if self.partial.size >= most + LEAST_PROGRESS:
                    failures, most = 0, self.partial.size
                failures += 1
                if failures >= self.retries.attempts:
                    raise URLError(f"{error} ({failures} attempts)") from error
                wait = self.retries.backoff * 2 ** (failures - 1)
                self.note(f"{error}; retrying in {wait:.1f} s")
                time.sleep(wait)

    def _receive(self, url: str, response: requests.Response) -> None:
        """Append the body to the partial file, or restart it with the body."""
        if response.status_code == requests.codes.requested_range_not_satisfiable:
            self.partial.discard()
            raise ConnectionBrokenError("the server's file is shorter than what has arrived")
        total = http.total_size(response, start=self.partial.size)
        if self.entry.size is not None and total not in (None, self.entry.size):
            raise URLError(f"the file has {total} bytes, expected {self.entry.size}")
        if response.status_code == requests.codes.ok:
            if self.partial.size:
                self.note("the server cannot resume, or has another version; starting over")
            self.partial.restart(url, response, total)
        elif not self.partial.fits(response, total):
            self.partial.discard()
            raise ConnectionBrokenError("the server has another version now")
        else:
            self.partial.is_pieced = True
        self._check_space(total)
        total = total if self.entry.size is None else self.entry.size
        done = self.partial.size
        with self.partial.path.open("ab") as file:
            for chunk in http.read_body(response, self.retries.read):
                done += len(chunk)
                if total is not None and done > total:
                    raise URLError(f"it sends more than {total} bytes")
                file.write(chunk)
                self.on_progress(Progress(done=done, total=total))
        if total is not None and done < total:
            raise ConnectionBrokenError("the connection broke")

    def _check_space(self, total: int | None) -> None:
        folder = self.partial.path.parent
        needed = (total or 0) - self.partial.size
        free = shutil.disk_usage(folder).free
        if needed > free:
            raise OutputError(
                f"{folder}: {megabytes(needed)} needed, {megabytes(free)} free; "
                "make room, or choose another folder with SR_DATA_DIR"
            )

    def note(self, text: str) -> None:
        self.on_progress(Progress(done=self.partial.size, total=self.entry.size, note=text))


@contextmanager
def _disk_errors(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise OutputError(
                f"{target}: no space left in {target.parent}; what has arrived is kept: make room and run it again"
            ) from error
        raise OutputError(f"{target}: cannot be written ({error.strerror or error})") from error
