"""An HTTP server on loopback that misbehaves as it is told."""

import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@dataclass
class Served:
    """A file, and how the server that has it behaves.

    Attributes:
        etag: what the server calls this version.
        refusals: states and headers that are answered first, one a request.
        cuts: offsets in the file at which the connection ends, each once.
        resets: whether cut connections are reset, rather than closed.
        ranges: whether requests for a part are honoured.
        announced: the size that the server claims.
        chunked: whether the size is not announced at all.
        pause: seconds before each 16 kB.
        redirect: where the server sends those who ask.
        encoding: what the server says of the body's encoding.
        asked: the headers of each request.
        sent: bytes of bodies.
    """

    content: bytes
    etag: str | None = '"v1"'
    refusals: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    cuts: list[int] = field(default_factory=list)
    resets: bool = False
    ranges: bool = True
    announced: int | None = None
    chunked: bool = False
    pause: float = 0
    redirect: str | None = None
    encoding: str | None = None
    asked: list[dict[str, str]] = field(default_factory=list)
    sent: int = 0


@dataclass(frozen=True)
class Server:
    """The files by name, and where they are served."""

    files: dict[str, Served]
    base: str

    def url(self, name: str) -> str:
        return f"{self.base}/{name}"


@contextmanager
def serving(files: dict[str, Served], *, certificate: Path | None = None) -> Iterator[Server]:
    """Serve files until the block ends; over TLS with a certificate (PEM, with its key)."""
    handler = type("Handler", (_Handler,), {"files": files})
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        httpd.socket = context.wrap_socket(httpd.socket, server_side=True)
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield Server(files, f"{'https' if certificate else 'http'}://127.0.0.1:{httpd.server_port}")
    finally:
        httpd.shutdown()
        httpd.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    files: dict[str, Served]

    def do_GET(self) -> None:
        self.close_connection = True
        served = self.files.get(self.path.rpartition("/")[2])
        if served is None:
            self.send_error(404)
            return
        served.asked.append(dict(self.headers))
        if served.redirect:
            self._answer(302, {"Location": served.redirect, "Content-Length": "0"})
        elif served.refusals:
            status, headers = served.refusals.pop(0)
            self._answer(status, {"Content-Length": "0", **headers})
        else:
            self._serve(served)

    def _serve(self, served: Served) -> None:
        size = served.announced if served.announced is not None else len(served.content)
        start = self._start(served)
        headers = {"ETag": served.etag, "Content-Encoding": served.encoding}
        if served.chunked:
            headers["Transfer-Encoding"] = "chunked"
        else:
            headers["Content-Length"] = str(size - start)
        if start >= size > 0 and start:
            self._answer(416, {"Content-Length": "0", "Content-Range": f"bytes */{size}"})
            return
        if start:
            headers["Content-Range"] = f"bytes {start}-{size - 1}/{size}"
        self._answer(206 if start else 200, headers)
        cut = next((each for each in sorted(served.cuts) if each >= start), None)
        self._send(served, start, min(size, len(served.content)) if cut is None else cut)
        if cut is not None:
            served.cuts.remove(cut)
            if served.resets:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()
        elif served.chunked:
            self.wfile.write(b"0\r\n\r\n")

    def _send(self, served: Served, start: int, end: int) -> None:
        for begin in range(start, end, 16384):
            piece = served.content[begin : min(begin + 16384, end)]
            time.sleep(served.pause)
            try:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece) if served.chunked else piece)
            except OSError:
                return  # whoever asked has hung up
            served.sent += len(piece)

    def _start(self, served: Served) -> int:
        wanted = self.headers.get("Range")
        if not wanted or not served.ranges or self.headers.get("If-Range") not in (None, served.etag):
            return 0
        return int(wanted.removeprefix("bytes=").rstrip("-"))

    def _answer(self, status: int, headers: dict[str, str | None]) -> None:
        self.send_response(status)
        for key, value in {**headers, "Connection": "close"}.items():
            if value is not None:
                self.send_header(key, value)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass
