"""The server: a socket, uvicorn, the end of both, and who may ask: the token in the path, the Host header."""

import asyncio
import contextlib
import ipaddress
import re
import secrets
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import uvicorn
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sr_cli.config import ServeConfig
from sr_cli.errors import UsageError
from sr_cli.serve.app import Site

_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}


def listen(config: ServeConfig) -> socket.socket:
    """A socket on the address and the port of ``config``; a `UsageError` if they are taken, or not this machine's."""
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    try:
        return socket.create_server((config.host, config.port), family=family)
    except OSError as error:
        reason = error.strerror or error
        raise UsageError(f"{config.host} port {config.port}: cannot listen there ({reason})") from error


def is_loopback(listener: socket.socket) -> bool:
    """Whether only this machine can reach a listening socket."""
    return ipaddress.ip_address(listener.getsockname()[0]).is_loopback


def address(config: ServeConfig, listener: socket.socket, token: str) -> str:
    """The URL of the page."""
    host = _ANY.get(config.host, config.host)
    return f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}/{token}/"


class Guard:
    """An ASGI application that passes on what may be answered, without the token in the path.

    A page of another site cannot ask: it doesn't know the token, gets no CORS header, and if its name was made to
    resolve to this machine (DNS rebinding), the Host header betrays it: names other than ``host`` and ``localhost``
    are refused, addresses are not.

    Args:
        host: the name or address that the server listens on.
    """

    def __init__(self, app: ASGIApp, *, token: str, host: str) -> None:
        self._app, self._token, self._names = app, token, {host.lower(), "localhost"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it with 403."""
        nonce = secrets.token_urlsafe(16)
        policy = (
            f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src 'self' data:; "
            "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer = MutableHeaders(scope=message)
                answer["Content-Security-Policy"] = policy
                answer["Cross-Origin-Resource-Policy"] = answer["Cross-Origin-Opener-Policy"] = "same-origin"
                answer["Referrer-Policy"] = "same-origin"
                answer["X-Content-Type-Options"] = "nosniff"
                answer["Cache-Control"] = "no-store"
            await send(message)

        token, slash, rest = scope["path"].removeprefix("/").partition("/")
        headers = Headers(scope=scope)
        if reason := self._refusal(headers, token):
            await JSONResponse({"error": reason}, status_code=403)(scope, receive, send_guarded)
        elif not slash:
            await RedirectResponse(f"/{token}/")(scope, receive, send_guarded)
        else:
            address = f"http://{headers['host']}/{token}"
            inner = {**scope, "path": f"/{rest}", "nonce": nonce, "address": address}
            await self._app(inner, receive, send_guarded)

    def _refusal(self, headers: Headers, token: str) -> str | None:
        host, origin = headers.get("host", ""), headers.get("origin")
        if not self._is_ours(host):
            return "the Host header names another machine"
        if not secrets.compare_digest(token.encode(), self._token.encode()):
            return "the token is missing or wrong; open the address that sr serve printed"
        if origin is not None and urlsplit(origin).netloc != host:
            return "pages of other sites may not ask"
        return None

    def _is_ours(self, host: str) -> bool:
        name = re.sub(r":\d+$", "", host.lower())
        if name in self._names:
            return True
        try:
            return bool(ipaddress.ip_address(re.sub(r"^\[(.*)\]$", r"\1", name)))
        except ValueError:
            return False


class Server(uvicorn.Server):
    """Serves a site until `end` is called; signals are left to the caller."""

    def __init__(self, site: Site, *, token: str, host: str) -> None:
        self._site = site
        config = uvicorn.Config(
            Guard(site.app, token=token, host=host), interface="asgi3", loop="asyncio", http="h11", ws="none",
            lifespan="off", log_config=None, log_level="critical", access_log=False, proxy_headers=False,
            server_header=False, limit_concurrency=200, timeout_graceful_shutdown=3,
        )  # fmt: skip
        super().__init__(config)

    def serve_on(self, listener: socket.socket) -> None:
        """Serve until `end` is called; returns when the last picture has ended."""
        try:
            asyncio.run(self.serve([listener]))
        finally:
            self._site.thread.shutdown()

    def end(self) -> None:
        """Make `serve_on` return; may be called by a signal handler."""
        self.should_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield

    async def shutdown(self, sockets: Any = None) -> None:
        """End pages and requests, then connections."""
        self._site.stop()
        await super().shutdown(sockets)
