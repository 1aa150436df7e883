"""The ways of the network: which URLs are allowed, which failures pass, and their reasons in a few words."""

import email.utils
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from urllib.parse import urljoin

import requests
import urllib3
from requests import exceptions

from sr_cli import __version__
from sr_cli.weights.progress import Patience
from sr_cli.weights.urls import check_url, is_loopback, shown

PIECE = 256 * 1024  # bytes
PASSING = {408, 425, 429, 500, 502, 503, 504}
"""HTTP states after which the same request may succeed a little later."""


class PassingError(Exception):
    """Worth another attempt at the same URL, after ``wait`` seconds if the server named them."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


class FinalError(Exception):
    """This URL will not do; the next may."""


def session() -> requests.Session:
    """A session that obeys the proxy and CA variables that requests knows, then OpenSSL's ``SSL_CERT_FILE`` and
    ``SSL_CERT_DIR``, and that follows no redirect to plain http."""
    new = requests.Session()
    new.headers["User-Agent"] = f"sr-cli/{__version__}"
    new.max_redirects = 10
    new.hooks["response"].append(_check_redirect)
    new.verify = os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR") or True
    return new


@contextmanager
def errors_sorted(patience: Patience) -> Iterator[None]:
    """Turn what requests raises, and urllib3 while a body is read, into `PassingError` and `FinalError`."""
    try:
        yield
    except exceptions.SSLError as error:
        why = f"its certificate is not trusted ({_cause(error)}); behind a proxy that opens TLS, set REQUESTS_CA_BUNDLE"
        raise FinalError(why) from error
    except exceptions.ProxyError as error:
        raise FinalError(f"the proxy does not let us through ({_cause(error)}); see HTTPS_PROXY, NO_PROXY") from error
    except exceptions.ConnectTimeout as error:
        raise PassingError(f"no connection within {patience.connect:g} s") from error
    except exceptions.ReadTimeout as error:
        raise PassingError(f"nothing came for {patience.read:g} s") from error
    except urllib3.exceptions.ReadTimeoutError as error:
        raise PassingError(f"nothing came for {patience.read:g} s") from error
    except urllib3.exceptions.HTTPError as error:
        raise PassingError("the connection broke off") from error
    except exceptions.ConnectionError as error:
        raise PassingError(f"the connection failed ({_cause(error)})") from error
    except requests.RequestException as error:
        raise FinalError(_cause(error)) from error


def whole_size(response: requests.Response, *, start: int, patience: Patience) -> int | None:
    """Judge a response to a request for what follows byte ``start``.

    Returns:
        The size of the whole file in bytes, if the response says it. Its state is 200 (the body is the whole file)
        or 206 (the body is what follows ``start``).

    Raises:
        PassingError, FinalError: it is anything else.
    """
    status, headers = response.status_code, response.headers
    if status in (200, 206) and headers.get("Content-Encoding", "identity") != "identity":
        raise FinalError(f"it sends the file packed ({headers['Content-Encoding']}), although we ask it not to")
    if status == 200:
        length = headers.get("Content-Length", "")
        return int(length) if length.isdigit() and "Transfer-Encoding" not in headers else None
    if status == 206:
        said = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", headers.get("Content-Range", ""))
        if not said or int(said[1]) != start:
            raise FinalError("it sends another part of the file than was asked for")
        return None if said[2] == "*" else int(said[2])
    reason = f"HTTP {status} {response.reason or ''}".rstrip()
    if status not in PASSING:
        raise FinalError(reason)
    wait = _retry_after(headers.get("Retry-After"))
    if wait is not None and wait > patience.longest_wait:
        raise FinalError(f"{reason}; it asks us to come back in {wait:.0f} s")
    raise PassingError(reason, wait)


def body(response: requests.Response) -> Iterator[bytes]:
    """The body, piece by piece as it comes. (Before a broken end, ``iter_content`` drops what it has in hand.)"""
    while piece := response.raw.read1(PIECE, decode_content=False):
        yield piece


def _check_redirect(response: requests.Response, **_: object) -> None:
    """Refuse redirects to plain http, before they are followed."""
    if not response.is_redirect:
        return
    there = urljoin(response.url, response.headers["location"])
    try:
        check_url(there)
    except ValueError as error:
        raise FinalError(f"it redirects to {error}") from error
    if is_loopback(there) and not is_loopback(response.url):
        raise FinalError(f"it redirects to {shown(there)}, this very machine")


def _cause(error: BaseException) -> str:
    """The innermost reason of a nest of exceptions, without the addresses of objects."""
    seen: list[BaseException] = []
    following: BaseException | None = error
    while following is not None and following not in seen:
        seen.append(following)
        inner = [getattr(following, "reason", None), *following.args, following.__cause__, following.__context__]
        following = next((each for each in inner if isinstance(each, BaseException)), None)
    last = seen[-1]
    if isinstance(last, OSError) and last.strerror:
        return last.strerror
    return re.sub(r"<[^>]*>:?\s*", "", str(last)) or type(last).__name__


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
