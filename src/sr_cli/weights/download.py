"""One file over HTTP, over as many attempts and mirrors as it takes."""

import errno
import random
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import requests

from sr_cli.errors import DownloadError, OutputError
from sr_cli.weights import web
from sr_cli.weights.partial import Partial
from sr_cli.weights.progress import OnProgress, Patience, Progress, ignore
from sr_cli.weights.receipts import sha256_of
from sr_cli.weights.urls import shown
from sr_cli.weights.web import FinalError, PassingError


def download(
    urls: Sequence[str],
    target: Path,
    *,
    size: int | None = None,
    sha256: str | None = None,
    on_progress: OnProgress = ignore,
    patience: Patience | None = None,
) -> str:
    """Download a file whole, or leave what has arrived for the next call.

    A broken transfer goes on where it stopped, in this call or a later one, if the server can and still has that
    version; otherwise it starts over. The file gets its name when its size and hash are right. The caller sees to it
    that nobody else does the same.

    Args:
        urls: where to try, in order.
        target: the file; its folder exists. An older file of that name is replaced.
        size: in bytes, if known.
        sha256: if known. Only then do pieces from different URLs go together: the hash will tell.

    Returns:
        The SHA-256.

    Raises:
        DownloadError: every URL failed; the message says how each did.
        OutputError: the disk is full, or the folder cannot be written.
    """
    reasons: list[str] = []
    with _disk_errors(target):
        transfer = _Transfer(Partial(target, sha256), size, sha256, on_progress, patience or Patience())
        for url in urls:
            if reasons:
                transfer.report(f"{reasons[-1]}; trying the next URL")
            try:
                digest = transfer.run(url)
            except FinalError as error:
                reasons.append(f"{shown(url)}: {error}")
            else:
                transfer.partial.become(target)
                return digest
    raise DownloadError("; ".join(reasons))


@dataclass
class _Transfer:
    partial: Partial
    size: int | None
    sha256: str | None
    on_progress: OnProgress
    patience: Patience
    session: requests.Session = field(default_factory=web.session)

    def run(self, url: str) -> str:
        """Bring the whole file from one URL; return its SHA-256."""
        for patching_allowed in (True, False):
            self._try_and_try_again(url)
            digest = sha256_of(self.partial.path)
            if self.sha256 in (None, digest):
                return digest
            patched = self.partial.patched
            self.partial.discard()
            if not (patched and patching_allowed):
                break
            self.report("the pieces don't fit together; starting over")
        raise FinalError(f"what it sends has the SHA-256 {digest}, not {self.sha256}")

    def _try_and_try_again(self, url: str) -> None:
        failures, most = 0, self.partial.size
        while True:
            try:
                return self._attempt(url)
            except PassingError as error:
                if self.partial.size > most:
                    failures, most = 0, self.partial.size
                failures += 1
                if failures >= self.patience.attempts:
                    raise FinalError(f"{error} ({failures} attempts)") from error
                # Random, lest many machines that were refused together come back together.
                wait = self.patience.backoff * 2 ** (failures - 1) * random.uniform(0.5, 1)
                wait = wait if error.wait is None else error.wait
                self.report(f"{error}; trying again in {wait:.1f} s")
                time.sleep(wait)

    def _attempt(self, url: str) -> None:
        if self.size is not None and self.partial.size == self.size:
            return  # all there: an earlier process was stopped just before the name
        self._check_space(self.size)
        headers = {"Accept-Encoding": "identity", **self.partial.request_headers(url)}
        with web.errors_sorted(self.patience), self._get(url, headers) as response:
            self._take(url, response)

    def _get(self, url: str, headers: dict[str, str]) -> requests.Response:
        timeout = (self.patience.connect, self.patience.read)
        try:
            return self.session.get(url, headers=headers, stream=True, timeout=timeout)
        except requests.RequestException:
            raise
        except OSError as error:  # how requests says that the file with the CAs is not there
            raise FinalError(str(error)) from error

    def _take(self, url: str, response: requests.Response) -> None:
        """Append the response's body to what there is, or begin anew with it."""
        if response.status_code == requests.codes.requested_range_not_satisfiable:
            self.partial.discard()
            raise PassingError("the server has less than what we have of it; starting over")
        total = web.whole_size(response, start=self.partial.size, patience=self.patience)
        if self.size is not None and total not in (None, self.size):
            raise FinalError(f"it has {total} bytes, the registry says {self.size}")
        if response.status_code == requests.codes.ok:
            if self.partial.size:
                self.report("the server does not go on where we stopped, or has another version; starting over")
            self.partial.begin(url, response)
        else:
            self.partial.patched = True
        self._check_space(total)
        self._append(response, total if self.size is None else self.size)

    def _append(self, response: requests.Response, total: int | None) -> None:
        done = self.partial.size
        with self.partial.path.open("ab") as file:
            for piece in web.body(response):
                done += len(piece)
                if total is not None and done > total:
                    raise FinalError(f"it sends more than {total} bytes")
                file.write(piece)
                self.on_progress(Progress(done=done, total=total))
        if total is not None and done < total:
            raise PassingError("the connection broke off")

    def _check_space(self, total: int | None) -> None:
        folder = self.partial.path.parent
        needed = (total or 0) - self.partial.size
        free = shutil.disk_usage(folder).free
        if needed > free:
            raise OutputError(
                f"{folder}: {needed / 1e6:.1f} MB are needed and {free / 1e6:.1f} MB are free; "
                "make room, or choose another folder with SR_DATA_DIR"
            )

    def report(self, note: str) -> None:
        """Say something to the user."""
        self.on_progress(Progress(done=self.partial.size, total=self.size, note=note))


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
