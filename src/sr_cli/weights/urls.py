"""Which URLs are allowed, and how they are shown."""

from urllib.parse import unquote, urlsplit, urlunsplit

LOOPBACK = {"127.0.0.1", "::1", "localhost"}


def check_url(url: str) -> None:
    """Refuse what is not https. Plain http passes only to this very machine, which no network can listen in on.

    Raises:
        ValueError: the URL has another scheme, or no host.
    """
    parts = urlsplit(url)
    if not parts.hostname or not (parts.scheme == "https" or is_loopback(url)):
        raise ValueError(f"{shown(url)}: only https is allowed")


def is_loopback(url: str) -> bool:
    """Whether the URL is plain http to this very machine."""
    parts = urlsplit(url)
    return parts.scheme == "http" and parts.hostname in LOOPBACK


def shown(url: str) -> str:
    """The URL as it may be printed: without a password."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def file_of(url: str) -> str:
    """The file name that a URL ends with."""
    return unquote(urlsplit(url).path.rpartition("/")[2])
