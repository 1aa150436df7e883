"""Files in object stores and on the web: whatever fsspec opens, and https by requests."""

import errno
import io
import random
import re
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath
from typing import IO, Any, TypeVar
from urllib.parse import unquote, urlsplit

from sr_cli.errors import ImageError, OutputError, SrError, UsageError, as_usage_error, first_line
from sr_cli.images.header import read_header, size_of
from sr_cli.weights.registry import check_url, without_password
from sr_cli.weights.types import DEFAULT_RETRIES

T = TypeVar("T")

_LARGEST_FOR_HEADER = 1 << 28  # bytes of a file on the web that is fetched for its size alone
_PAUSES, _PATIENCE = (1, 2, 4, 8), 60
"""Seconds between two attempts, and after which there is no further one."""
_PACKAGES = {
    "s3": "s3fs",
    "s3a": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "abfs": "adlfs",
    "abfss": "adlfs",
    "az": "adlfs",
}
_ATOMIC = (*_PACKAGES, "memory")
"""Stores in which a file appears once it is complete."""
_FINAL = (
    FileNotFoundError, FileExistsError, PermissionError, IsADirectoryError, NotADirectoryError, ValueError, TypeError,
    NotImplementedError, ImportError,
)  # fmt: skip
_FINAL_NUMBERS = (errno.EINVAL, errno.ENOSPC, errno.EROFS, errno.ENAMETOOLONG, errno.EMSGSIZE, errno.ENOSYS)
_FINAL_NAMES = ("Credential", "ProfileNotFound", "ParamValidation")  # of botocore's errors
"""Errors that another attempt does not mend."""
_SERVER_FAILED = getattr(errno, "EREMOTEIO", errno.EIO)
"""How s3fs says that the server answered, but with an error of its own."""
_given_up: set[tuple[object, type[SrError]]] = set()
"""Stores that answer so to everything that is read, or written; after a success they are taken out again."""


@dataclass(frozen=True)
class StorePath:
    """A file or folder in a store, with the part of `pathlib.Path` that a batch needs.

    Attributes:
        store: the file system of fsspec, or `Web`.
        path: what the store calls it. Unlike a `Path` it may be any text.
    """

    store: Any
    path: str

    def __setstate__(self, state: dict[str, Any]) -> None:  # in another process
        vars(self).update(state)
        _fail_at_once(self.store)

    def __str__(self) -> str:
        return str(self.store.unstrip_protocol(self.path))

    def __truediv__(self, below: str | PurePath) -> "StorePath":
        below = below if isinstance(below, str) else below.as_posix()
        return self if below == "." else StorePath(self.store, f"{self.path.rstrip('/')}/{below}")

    @property
    def is_web(self) -> bool:
        return isinstance(self.store, Web)

    @property
    def name(self) -> str:
        path = unquote(urlsplit(self.path).path) if self.is_web else self.path
        return path.rstrip("/").rpartition("/")[2]

    @property
    def stem(self) -> str:
        return PurePosixPath(self.name).stem

    @property
    def suffix(self) -> str:
        return PurePosixPath(self.name).suffix

    @property
    def parent(self) -> "StorePath | Path":
        """The folder; of a web page it is the current one on this machine, where its result goes."""
        return Path() if self.is_web else StorePath(self.store, self.path.rstrip("/").rpartition("/")[0])

    def is_dir(self) -> bool:
        """False: in a store a file and a folder may have the same name."""
        return False

    def exists(self, kind: type[SrError] = OutputError) -> bool:
        """Whether there is such a file or folder; an error of that kind if the store doesn't say."""
        return attempt(lambda: _unless_missing(self.store.info, self.path), self, kind) is not None


AnyPath = Path | StorePath


class Web:
    """Files by https, to be read only."""

    protocol = "https"

    def unstrip_protocol(self, path: str) -> str:
        return without_password(path)

    def get_file(self, url: str, local: str, *, most: int) -> None:
        """Download a file of at most ``most`` bytes."""
        with Path(local).open("wb") as file:
            self.read(url, file, most=most)

    def open(self, url: str, *_: object, **__: object) -> IO[bytes]:
        """A copy of the file, which cannot be read in parts."""
        file = io.BytesIO()
        self.read(url, file, most=_LARGEST_FOR_HEADER)
        file.seek(0)
        return file

    def read(self, url: str, file: IO[bytes], *, most: int) -> None:
        """Copy a file of at most ``most`` bytes."""
        from sr_cli.weights.http import ConnectionBrokenError, URLError, open_session, read_body, request, total_size

        with open_session(DEFAULT_RETRIES) as session:
            try:
                with request(session, url, {}, DEFAULT_RETRIES) as response:
                    announced = total_size(response, start=0) or 0
                    for chunk in read_body(response) if announced <= most else ():
                        file.write(chunk)
                        if file.tell() > most:
                            break
            except (URLError, ConnectionBrokenError) as error:  # the session has tried again already
                raise ImageError(f"{without_password(url)}: {error}") from error
            if max(announced, file.tell()) > most:
                raise ImageError(f"{without_password(url)}: is larger than {most} bytes; --max-input allows more")
            if file.tell() < announced:
                raise ConnectionError("the connection broke")


def is_url(text: str) -> bool:
    """Whether a name means a file elsewhere."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", text) is not None


def any_path(text: str) -> AnyPath:
    """A path on this machine, or in the store that a URL names; a `UsageError` if that or its package is unknown."""
    if not is_url(text):
        return Path(text)
    protocol = text.partition("://")[0].lower()
    if protocol in ("http", "https"):
        with as_usage_error():
            check_url(text)
        return StorePath(Web(), text)
    import fsspec

    try:
        kind = fsspec.get_filesystem_class(protocol)
        options = kind._get_kwargs_from_urls(text)
        store = fsspec.filesystem(protocol, use_listings_cache=False, **options)
        _fail_at_once(store)
        return StorePath(store, kind._strip_protocol(text))
    except ImportError as error:
        package = _PACKAGES.get(protocol)
        remedy = f"needs a package: python -m pip install {package}" if package else first_line(error)
        raise UsageError(f"{text}: {remedy}") from error
    except Exception as error:  # an unknown protocol, and whatever a library says of the URL
        raise UsageError(f"{text}: {first_line(error)}") from error


def _fail_at_once(store: Any) -> None:
    """Keep a store from trying again by itself: `attempt` does."""
    azure = getattr(getattr(store, "service_client", None), "_config", None)
    if policy := getattr(azure, "retry_policy", None):  # adlfs has no option for it
        policy.total_retries = 0
    if getattr(store, "retries", 1) == 1:
        return
    store.retries = 1
    if hasattr(store, "config_kwargs"):  # s3fs
        from aiobotocore.session import AioSession
        from botocore.handlers import add_expect_header

        store.max_concurrency = 1  # each holds 50 MB; pictures are transferred side by side as it is
        store.config_kwargs = {"retries": {"total_max_attempts": 1}, **store.config_kwargs}
        store.session = store.session or AioSession(**store.kwargs)
        # aiohttp would wait without end until the server wants the file: one that refuses it may never say so.
        store.session.unregister("before-call.s3", add_expect_header)


def attempt(action: Callable[[], T], what: StorePath, kind: type[SrError]) -> T:
    """Do something in a store, again if that may help, after pauses that grow; in the end an error of that kind."""
    began, place = time.monotonic(), (what.store, kind)
    for pause in (*_PAUSES, None):
        try:
            result = action()
            _given_up.discard(place)
            return result
        except SrError:
            raise
        except Exception as error:  # each store has errors of its own
            server_failed = getattr(error, "errno", None) == _SERVER_FAILED
            is_in_vain = server_failed and place in _given_up
            if pause is None or is_in_vain or _is_final(error) or time.monotonic() - began > _PATIENCE:
                if server_failed:
                    _given_up.add(place)
                raise kind(f"{what}: {_explained(error)}") from error
            time.sleep(pause * random.uniform(0.5, 1))
    raise AssertionError


def size_at(path: AnyPath) -> tuple[int, int]:
    """Width and height of a picture anywhere, see `size_of`; of a store only the header is read."""
    if isinstance(path, Path):
        return size_of(path)
    with attempt(lambda: path.store.open(path.path, "rb", block_size=1 << 16), path, ImageError) as file:
        try:
            header = read_header(file)
            return header.width, header.height
        except ImageError as error:
            raise ImageError(f"{path}: {str(error).partition(': ')[2]}") from error


def download(source: StorePath, local: Path, *, most: int) -> None:
    """Copy a file to this machine; an `ImageError` if it cannot be read, or has more than ``most`` bytes."""
    if source.is_web:
        attempt(lambda: source.store.get_file(source.path, str(local), most=most), source, ImageError)
        return
    size = attempt(lambda: source.store.info(source.path), source, ImageError).get("size") or 0
    if size > most:
        raise ImageError(f"{source}: is larger than {most} bytes; --max-input allows more")
    attempt(lambda: source.store.get_file(source.path, str(local)), source, ImageError)


def upload(local: Path, target: StorePath) -> None:
    """Copy a file into a store, where it appears complete or not at all; an `OutputError` if it cannot be written."""
    store, protocol = target.store, target.store.protocol
    protocols = (protocol,) if isinstance(protocol, str) else protocol

    def put() -> None:
        if any(each in _ATOMIC for each in protocols):
            store.put_file(str(local), target.path)
            return
        folder, _, _ = target.path.rpartition("/")
        temporary = f"{folder}/.sr-{secrets.token_hex(8)}.tmp"
        store.makedirs(folder, exist_ok=True)
        try:
            store.put_file(str(local), temporary)
            store.mv(temporary, target.path)
        except BaseException:
            with suppress(Exception):
                store.rm_file(temporary)
            raise

    attempt(put, target, OutputError)


def entries(folder: StorePath, kind: type[SrError] = ImageError) -> tuple[list[str], list[str]]:
    """Names of the files and of the folders in a folder, sorted, if it exists; an error of that kind if that fails."""

    def names() -> tuple[list[str], list[str]]:
        found: tuple[list[str], list[str]] = ([], [])
        for each in _unless_missing(folder.store.ls, folder.path, detail=True) or ():
            found[each["type"] == "directory"].append(each["name"].rpartition("/")[2])
        return sorted(found[0]), sorted(found[1])

    return attempt(names, folder, kind)


def _unless_missing(ask: Callable[..., T], *arguments: Any, **options: Any) -> T | None:
    try:
        return ask(*arguments, **options)
    except FileNotFoundError:
        return None


def _is_final(error: Exception) -> bool:
    return (
        isinstance(error, _FINAL)
        or any(name in type(error).__name__ for name in _FINAL_NAMES)
        or getattr(error, "errno", None) in _FINAL_NUMBERS
    )


def _explained(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such bucket" if "bucket" in str(error) else "no such file or folder"
    if "Credential" in type(error).__name__:
        return f"no credentials ({first_line(error)}); set them as for the store's own tools, S3: AWS_ACCESS_KEY_ID …"
    if isinstance(error, PermissionError):
        return f"the store refuses access ({first_line(error)})"
    said = getattr(error, "strerror", None) or " ".join(str(error).split()[:20]) or type(error).__name__
    return f"the store fails ({said})"
