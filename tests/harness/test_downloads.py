"""Whatever a server does, a download has its name only if it is the file; otherwise it ends in one line."""

import hashlib
import random
import socket
import threading

import pytest

from sr_cli.errors import SrError
from sr_cli.weights import Entry, RetryPolicy
from sr_cli.weights.download import download
from support.harness import cases, one_line
from support.loopback import Served, serving

QUICK = RetryPolicy(attempts=2, connect=5, read=0.5, backoff=0)
CONTENT = b"\x80\x02" + random.Random(0).randbytes(60_000)  # as a pickle begins
DIGEST = hashlib.sha256(CONTENT).hexdigest()
PAGE = b"<!DOCTYPE html><title>Sign in</title>" + bytes(1000)


def behaviors(generator: random.Random) -> Served:
    cut = generator.randrange(1, len(CONTENT))
    return generator.choice((
        lambda: Served(CONTENT, cuts=[cut], resets=generator.random() < 0.5),
        lambda: Served(CONTENT[:cut]),
        lambda: Served(CONTENT[:cut] + bytes(len(CONTENT) - cut)),
        lambda: Served(CONTENT, announced=len(CONTENT) + generator.choice((-1, 1, 1000))),
        lambda: Served(CONTENT, chunked=True, cuts=[cut]),
        lambda: Served(CONTENT, encoding=generator.choice(("gzip", "br", "x"))),
        lambda: Served(CONTENT, redirect=generator.choice(("/a", "http://[::1", "http://example.com/", "//", "\\"))),
        lambda: Served(CONTENT, refusals=[(generator.choice((204, 302, 404, 416, 429)), {"Retry-After": "²"})] * 3),
        lambda: Served(PAGE),
        lambda: Served(CONTENT, cuts=list(range(100, 130))),
        lambda: Served(CONTENT, ranges=False, cuts=[cut]),
    ))()  # fmt: skip


@pytest.mark.parametrize("sha256", [DIGEST, None])
def test_no_server_passes_off_another_file(tmp_path, sha256):
    wrong = refused = 0
    for case in cases(6, long=100):
        served = behaviors(random.Random(case))
        target = tmp_path / str(case) / "weights.pth"
        target.parent.mkdir()
        # Without a hash, a shorter or other file can't be told where the server says nothing of it.
        told = len(CONTENT) if sha256 is None else None
        with serving({"a": served}) as server:
            try:
                download(entry_of(server.url("a"), sha256, size=told), target, retries=QUICK)
            except SrError as error:
                assert one_line(error) is None
                assert not target.exists()
                refused += 1
        if target.exists():
            is_other = served.content not in (CONTENT, CONTENT[: len(served.content)]) and sha256 is None
            wrong += target.read_bytes() != CONTENT and not is_other
    print(f"{case + 1} servers, {refused} refused, {wrong} wrong files")
    assert wrong == 0


HEADERS = ("HTTP/1.1 200 OK", "Content-Length: 60002", 'ETag: "1"', "Content-Type: x", "Connection: close")


def test_no_header_ends_in_a_traceback(tmp_path):
    for case in cases(10, long=500):
        generator = random.Random(case)
        lines = [line.encode() for line in HEADERS]
        index = generator.randrange(len(lines))
        lines[index] = generator.choice((
            b"", b"\0", b"HTTP/9 99999 \xff", b"Content-Length: " + "²".encode(), b"Content-Length: -1",
            b"Content-Length: " + b"9" * 5000, b"Transfer-Encoding: gzip", b"Transfer-Encoding: chunked",
            b"Location: http://[::1", b"x" * 70_000, generator.randbytes(40), b"Content-Range: bytes 5-4/3",
        ))  # fmt: skip
        target = tmp_path / str(case) / "weights.pth"
        target.parent.mkdir()
        try:
            with answering(b"\r\n".join(lines) + b"\r\n\r\n" + CONTENT) as url:
                download(entry_of(url, DIGEST), target, retries=QUICK)
        except SrError as error:
            assert one_line(error) is None, case
        assert not target.exists() or target.read_bytes() == CONTENT


class answering:  # noqa: N801
    """A server that sends the same bytes to everybody."""

    def __init__(self, answer: bytes) -> None:
        self._answer, self._listener = answer, socket.create_server(("127.0.0.1", 0))

    def __enter__(self) -> str:
        threading.Thread(target=self._serve, daemon=True).start()
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}/a"

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _serve(self) -> None:
        try:
            while True:
                client, _ = self._listener.accept()
                with client:
                    client.recv(10_000)
                    client.sendall(self._answer)
        except OSError:
            return


def entry_of(url: str, sha256: str | None, *, size: int | None = None) -> Entry:
    return Entry(name="weights", kind="upscaler", file="weights.pth", urls=(url,), sha256=sha256, size=size)
