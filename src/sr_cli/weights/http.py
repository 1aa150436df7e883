"""HTTP for weights: retries, redirects, and what a response means."""

import os
import re
import socket
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urljoin

import requests
import urllib3
from requests import exceptions
from requests.adapters import HTTPAdapter

from sr_cli import __version__
from sr_cli.weights.registry import check_url, is_loopback, without_password
from sr_cli.weights.types import DEFAULT_RETRIES, LEAST_DATA, RetryPolicy

_CHUNK = 256 * 1024  # bytes
_RETRIED = (408, 425, 429, 500, 502, 503, 504)
"""HTTP statuses after which the same request may succeed a little later."""
_LONGEST_WAIT = 120  # seconds; a server that asks for more by Retry-After is given up


class ConnectionBrokenError(Exception):
    """The connection broke within the body; the rest can be requested from the same URL."""


class URLError(Exception):
    """This URL cannot deliver the file; another may."""


class _Retry(urllib3.Retry):
    def increment(self, *args: Any, **details: Any) -> Any:
        error = details.get("error")
        if isinstance(error, urllib3.exceptions.NameResolutionError):
            cause = error.__cause__
            if isinstance(cause, socket.gaierror) and cause.errno == socket.EAI_NONAME:  # EAI_AGAIN may pass
                raise URLError(_root_cause(cause))
        return super().increment(*args, **details)

    def get_retry_after(self, response: urllib3.BaseHTTPResponse) -> float | None:
        wait = super().get_retry_after(response)
        if wait is not None and wait > _LONGEST_WAIT:
            raise URLError(f"HTTP {response.status}; it asks for a retry in {wait:.0f} s")
        return wait


def open_session(policy: RetryPolicy) -> requests.Session:
    """A session that retries until a response begins, and follows no redirect to plain http.

    It obeys the proxy and CA variables that requests knows, then OpenSSL's ``SSL_CERT_FILE`` and ``SSL_CERT_DIR``.
    """

    retry = _Retry(
        total=policy.attempts - 1,
        other=0,  # such as an untrusted certificate
        status_forcelist=_RETRIED,
        backoff_factor=policy.backoff,
        backoff_jitter=policy.backoff,  # machines that failed together shall not return together
        raise_on_status=False,
    )
    session = requests.Session()
    session.mount("https://", HTTPAdapter(max_retries=retry))
    session.mount("http://", HTTPAdapter(max_retries=retry))
    session.headers["User-Agent"] = f"sr-cli/{__version__}"
    session.max_redirects = 10
    session.hooks["response"].append(_check_redirect)
    session.verify = os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR") or True
    return session


def request(session: requests.Session, url: str, headers: dict[str, str], policy: RetryPolicy) -> requests.Response:
    """Request a file without compression, its body yet to be read; a `URLError` if no attempt brings a response."""
    try:
        return session.get(
            url, headers={"Accept-Encoding": "identity", **headers}, stream=True, timeout=(policy.connect, policy.read)
        )
    except exceptions.SSLError as error:
        hint = "behind a proxy that intercepts TLS, set REQUESTS_CA_BUNDLE"
        raise URLError(f"its certificate is not trusted ({_root_cause(error)}); {hint}") from error
    except exceptions.ProxyError as error:
        raise URLError(f"the proxy refused ({_root_cause(error)}); see HTTPS_PROXY and NO_PROXY") from error
    except (OSError, ValueError, urllib3.exceptions.HTTPError) as error:  # OSError: all of requests', a missing CA file
        raise URLError(_root_cause(error)) from error


def total_size(response: requests.Response, *, start: int) -> int | None:
    """Check the response to a request for the bytes from ``start`` on; a `URLError` if it is no answer to that.

    Returns:
        Size of the whole file in bytes, if the response states it. The status is 200 (the body is the whole file) or
        206 (the body begins at ``start``).
    """
    status, headers = response.status_code, response.headers
    if status not in (200, 206):
        raise URLError(f"HTTP {status} {response.reason or ''}".rstrip())
    if (encoding := headers.get("Content-Encoding", "identity")) != "identity":
        raise URLError(f"it compresses the file ({encoding}) although asked not to")
    if (transfer := headers.get("Transfer-Encoding", "chunked").lower()) != "chunked":
        raise URLError(f"it sends the file in an encoding that wasn't asked for ({transfer})")
    if status == 200:
        length = headers.get("Content-Length", "")
        is_stated = re.fullmatch("[0-9]{1,18}", length) and "Transfer-Encoding" not in headers
        return int(length) if is_stated else None
    stated = re.fullmatch(r"bytes ([0-9]{1,18})-[0-9]+/([0-9]{1,18}|\*)", headers.get("Content-Range", ""))
    if not stated or int(stated[1]) != start:
        raise URLError("it sends another part of the file than requested")
    return None if stated[2] == "*" else int(stated[2])


def read_body(response: requests.Response, patience: float = DEFAULT_RETRIES.read) -> Iterator[bytes]:
    """The body in chunks as they arrive. (``iter_content`` would drop what precedes a broken connection.)

    Args:
        patience: seconds within which `LEAST_DATA` must arrive.

    Raises:
        ConnectionBrokenError: the connection broke, or too little data came for too long.
    """
    since, arrived = time.monotonic(), 0
    try:
        while chunk := response.raw.read1(_CHUNK, decode_content=False):
            yield chunk
            arrived += len(chunk)
            if (now := time.monotonic()) > since + patience:
                if arrived < LEAST_DATA:
                    raise ConnectionBrokenError("too little data arrived for too long")
                since, arrived = now, 0
    except urllib3.exceptions.ReadTimeoutError as error:
        raise ConnectionBrokenError("no data arrived for too long") from error
    except urllib3.exceptions.HTTPError as error:
        raise ConnectionBrokenError("the connection broke") from error


def _check_redirect(response: requests.Response, **_: object) -> None:
    """Refuse redirects to plain http before they are followed."""
    if not response.is_redirect:
        return
    try:
        location = urljoin(response.url, response.headers["location"])
        check_url(location)
    except ValueError as error:
        raise URLError(f"it redirects to {error}") from error
    if is_loopback(location) and not is_loopback(response.url):
        raise URLError(f"it redirects to {without_password(location)}, on this machine")


def _root_cause(error: BaseException) -> str:
    while cause := error.__cause__ or error.__context__:
        error = cause
    if isinstance(error, socket.gaierror):
        return f"the server's name cannot be looked up ({error.strerror}): is there an internet connection?"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
