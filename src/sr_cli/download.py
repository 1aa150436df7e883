"""One file over HTTP: in pieces, over several attempts and mirrors, into a partial file that a hash then judges."""

import email.utils
import errno
import hashlib
import json
import os
import random
import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from urllib.parse import urljoin

import requests

from sr_cli import __version__
from sr_cli.errors import DownloadError, OutputError
from sr_cli.files import write_whole
from sr_cli.registry import check_url, is_loopback

PIECE = 64 * 1024  # bytes; what a cut connection can lose at most
PASSING = {408, 425, 429, 500, 502, 503, 504}


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long a transfer waits, and how often it tries again.

    Attributes:
        attempts: in a row that brought nothing new, before a URL is given up.
        connect: seconds until a connection must stand.
        read: seconds without a byte until a connection counts as lost.
        backoff: seconds before the second attempt; they double with every further one.
        longest_wait: seconds; a server that asks for more by Retry-After is given up.
    """

    attempts: int = 5
    connect: float = 10
    read: float = 30
    backoff: float = 1
    longest_wait: float = 120


@dataclass(frozen=True, kw_only=True)
class Progress:
    """What a transfer reports: bytes on disk, bytes of the whole if known, and at times a word to the user."""

    done: int = 0
    total: int | None = None
    note: str = ""


OnProgress = Callable[[Progress], None]


class _PassingError(Exception):
    """Worth another attempt at the same URL, after ``wait`` seconds if the server named them."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


class _FinalError(Exception):
    """This URL will not do; the next may."""


def ignore(_: Progress) -> None:
    """Report to nobody."""


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def download(
    urls: Sequence[str],
    target: Path,
    *,
    size: int | None = None,
    sha256: str | None = None,
    on_progress: OnProgress = ignore,
    patience: Patience | None = None,
) -> str:
    """Download a file whole, or leave what has arrived for the next try.

    The bytes go to ``.NAME.part`` beside the target, with a note of the version they belong to. A broken transfer goes
    on where it stopped, in this call or a later one, if the server can and still has that version; otherwise it starts
    over. The file gets its name when its size and hash are right. The caller sees to it that nobody else does the same.

    Args:
        urls: where to try, in order.
        target: the file; its folder exists. An older file of that name is replaced.
        size: in bytes, if known.
        sha256: if known. Only then do pieces of different mirrors go together: the hash will tell.

    Returns:
        The SHA-256.

    Raises:
        DownloadError: every URL failed; the message says how each did.
        OutputError: the disk is full, or the folder cannot be written.
    """
    transfer = _Transfer(Partial(target, sha256), size, sha256, on_progress, patience or Patience())
    reasons = []
    for url in urls:
        try:
            with _disk_errors(target):
                digest = transfer.run(url)
                transfer.partial.finish(target)
            return digest
        except _FinalError as error:
            reasons.append(f"{url}: {error}")
            if url != urls[-1]:
                on_progress(
                    Progress(done=transfer.partial.size, total=size, note=f"{reasons[-1]}; trying the next URL")
                )
    raise DownloadError("; ".join(reasons))


class Partial:
    """The bytes that have arrived (``.NAME.part``), and what they belong to (``.NAME.part.json``)."""

    def __init__(self, target: Path, sha256: str | None) -> None:
        self.path = target.with_name(f".{target.name}.part")
        self._label_path = target.with_name(f".{target.name}.part.json")
        self._sha256 = sha256
        self._label: dict[str, str | None] = {}
        with suppress(OSError, ValueError):
            self._label = json.loads(self._label_path.read_text("utf-8"))
        if not self._label or self._label.get("sha256") != sha256:
            self.discard()
        self.pieces = 1 if self.size else 0
        """Responses that the present bytes came in."""

    @property
    def size(self) -> int:
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0

    def headers(self, url: str) -> dict[str, str]:
        """The request headers that ask for the rest; none where it could not be known to fit."""
        if not self.size:
            return {}
        wanted = {"Range": f"bytes={self.size}-"}
        if self._label.get("url") == url and (version := self._label.get("version")):
            return {**wanted, "If-Range": version}
        return wanted if self._sha256 else {}

    def start(self, url: str, response: requests.Response) -> None:
        """Drop what there is; what follows belongs to this response."""
        self.discard()
        etag = response.headers.get("ETag", "")
        strong = etag if etag.startswith('"') else None
        version = strong or response.headers.get("Last-Modified")
        self._label = {"url": url, "version": version, "sha256": self._sha256}
        write_whole(self._label_path, json.dumps(self._label))

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)
        self._label_path.unlink(missing_ok=True)
        self._label = {}
        self.pieces = 0

    def finish(self, target: Path) -> None:
        with self.path.open("rb") as file:
            os.fsync(file.fileno())
        self.path.replace(target)
        self.discard()


@dataclass
class _Transfer:
    partial: Partial
    size: int | None
    sha256: str | None
    on_progress: OnProgress
    patience: Patience

    def __post_init__(self) -> None:
        self.session = _session()

    def run(self, url: str) -> str:
        """Bring the whole file from one URL; return its SHA-256."""
        while True:
            self._attempts(url)
            digest = sha256_of(self.partial.path)
            if self.sha256 in (None, digest):
                return digest
            patched = self.partial.pieces > 1
            self.partial.discard()
            if not patched:
                raise _FinalError(f"what it sends has the SHA-256 {digest}, not {self.sha256}")
            self._report("the pieces don't fit together; starting over")

    def _attempts(self, url: str) -> None:
        failures, best = 0, self.partial.size
        while True:
            try:
                return self._attempt(url)
            except _PassingError as error:
                if self.partial.size > best:
                    failures, best = 0, self.partial.size
                failures += 1
                if failures >= self.patience.attempts:
                    raise _FinalError(f"{error} ({failures} attempts)") from error
                wait = self.patience.backoff * 2 ** (failures - 1) * random.uniform(0.5, 1)
                wait = wait if error.wait is None else error.wait
                self._report(f"{error}; trying again in {wait:.0f} s")
                time.sleep(wait)

    def _attempt(self, url: str) -> None:
        if self.size is not None and self.partial.size == self.size:
            return  # all there: an earlier process was stopped just before the name
        self._check_space(self.size)
        headers = {"Accept-Encoding": "identity", **self.partial.headers(url)}
        timeouts = (self.patience.connect, self.patience.read)
        with _network_errors(self.patience):
            try:
                response = self.session.get(url, headers=headers, stream=True, timeout=timeouts)
            except requests.RequestException:
                raise
            except OSError as error:  # requests says so of a CA bundle that is not there
                raise _FinalError(str(error)) from error
            with response:
                self._take(url, response)

    def _take(self, url: str, response: requests.Response) -> None:
        """Append the response's body to what there is, or begin anew with it."""
        total = self._judge(response)
        if self.size is not None and total not in (None, self.size):
            raise _FinalError(f"it has {total} bytes, the registry says {self.size}")
        if response.status_code == requests.codes.ok:
            if self.partial.size:
                self._report("the server cannot go on where we stopped, or the file has changed; starting over")
            self.partial.start(url, response)
        self._check_space(total)
        self.partial.pieces += 1
        done = self.partial.size
        expected = total if self.size is None else self.size
        with self.partial.path.open("ab") as file:
            for piece in response.iter_content(PIECE):
                done += len(piece)
                if expected is not None and done > expected:
                    raise _FinalError(f"it sends more than {expected} bytes")
                file.write(piece)
                self.on_progress(Progress(done=done, total=expected))
        if expected is not None and done < expected:
            raise _PassingError(f"the connection ended after {done} of {expected} bytes")

    def _judge(self, response: requests.Response) -> int | None:
        """The size of the whole file, if the response says it; anything but bytes that we can use raises."""
        status, headers = response.status_code, response.headers
        if status == requests.codes.ok:
            plain = "Content-Encoding" not in headers and "Transfer-Encoding" not in headers
            return int(headers["Content-Length"]) if plain and headers.get("Content-Length", "").isdigit() else None
        if status == requests.codes.partial_content:
            said = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", headers.get("Content-Range", ""))
            if said and int(said[1]) == self.partial.size:
                return None if said[2] == "*" else int(said[2])
            self.partial.discard()
            raise _PassingError("the server sent another part than was asked for")
        if status == requests.codes.requested_range_not_satisfiable:
            self.partial.discard()
            raise _PassingError("the file on the server is shorter than what we have")
        reason = f"HTTP {status} {response.reason or ''}".rstrip()
        if status not in PASSING:
            raise _FinalError(reason)
        wait = _retry_after(headers.get("Retry-After"))
        if wait is not None and wait > self.patience.longest_wait:
            raise _FinalError(f"{reason}; it asks us to come back in {wait:.0f} s")
        raise _PassingError(reason, wait)

    def _check_space(self, total: int | None) -> None:
        folder = self.partial.path.parent
        needed = (total or 0) - self.partial.size
        free = shutil.disk_usage(folder).free
        if needed > free:
            raise OutputError(
                f"{folder}: {needed / 1e6:.0f} MB are needed and {free / 1e6:.0f} MB are free; "
                "make room, or choose another folder with SR_DATA_DIR"
            )

    def _report(self, note: str) -> None:
        self.on_progress(Progress(done=self.partial.size, total=self.size, note=note))


def _session() -> requests.Session:
    """A session that obeys the proxy and CA variables that requests knows, and OpenSSL's two."""
    session = requests.Session()
    session.headers["User-Agent"] = f"sr-cli/{__version__}"
    session.max_redirects = 10
    session.hooks["response"].append(_check_redirect)
    with suppress(StopIteration):
        session.verify = next(filter(None, map(os.environ.get, ("SSL_CERT_FILE", "SSL_CERT_DIR"))))
    return session


def _check_redirect(response: requests.Response, **_: object) -> None:
    """Refuse redirects to plain http, before they are followed."""
    if not response.is_redirect:
        return
    there = urljoin(response.url, response.headers["location"])
    try:
        check_url(there)
    except ValueError as error:
        raise _FinalError(f"it redirects to {error}") from error
    if is_loopback(there) and not is_loopback(response.url):
        raise _FinalError(f"it redirects to {there}, this very machine")


@contextmanager
def _network_errors(patience: Patience) -> Iterator[None]:
    try:
        yield
    except requests.exceptions.SSLError as error:
        raise _FinalError(
            f"its certificate is not trusted ({_cause(error)}); behind a proxy that opens TLS, set REQUESTS_CA_BUNDLE"
        ) from error
    except requests.exceptions.ProxyError as error:
        raise _FinalError(f"the proxy does not let us through ({_cause(error)}); see HTTPS_PROXY, NO_PROXY") from error
    except requests.exceptions.ConnectTimeout as error:
        raise _PassingError(f"no connection within {patience.connect:g} s") from error
    except requests.exceptions.ReadTimeout as error:
        raise _PassingError(f"nothing came for {patience.read:g} s") from error
    except (requests.exceptions.ConnectionError, requests.exceptions.ChunkedEncodingError) as error:
        raise _PassingError(f"the connection failed ({_cause(error)})") from error
    except requests.RequestException as error:
        raise _FinalError(_cause(error)) from error


def _cause(error: BaseException) -> str:
    """The innermost reason of a nest of exceptions, without the addresses of objects."""
    seen: list[BaseException] = []
    following: object = error
    while isinstance(following, BaseException) and following not in seen:
        seen.append(following)
        inner = [getattr(following, "reason", None), *following.args, following.__cause__, following.__context__]
        following = next((each for each in inner if isinstance(each, BaseException)), None)
    last = seen[-1]
    if isinstance(last, OSError) and last.strerror:
        return last.strerror
    return re.sub(r"<[^>]*>:?\s*", "", str(last)) or type(last).__name__


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


def _retry_after(value: str | None) -> float | None:
    """Seconds to wait, out of a number of seconds or a date (RFC 9110, section 10.2.3)."""
    if value is None:
        return None
    if value.strip().isdigit():
        return float(value)
    with suppress(ValueError, TypeError):
        date = email.utils.parsedate_to_datetime(value)
        return max(0.0, (date.astimezone(timezone.utc) - datetime.now(timezone.utc)).total_seconds())
    return None
