"""The server: a socket, uvicorn, and the end of both."""

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import Iterator
from typing import Any

import uvicorn

from sr_cli.config import ServeConfig
from sr_cli.errors import UsageError
from sr_cli.serve.app import Site
from sr_cli.serve.guard import Guard

_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}


def listen(config: ServeConfig) -> socket.socket:
    """A socket that listens on the address and the port of ``config``.

    Raises:
        UsageError: they are taken, or not this machine's.
    """
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
