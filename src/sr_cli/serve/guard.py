"""Who may ask: the token in the path, the Host header, and the headers that bind browsers."""

import ipaddress
import re
import secrets
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send


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
