"""What stands before every answer: only this machine's own page is served, and browsers are told to stay strict."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Guard:
    """Refuse requests of other sites, and of names that may have been bound to this machine's address.

    A page on another site can make a name of its own point here and then read what this server answers (DNS
    rebinding); an address and ``localhost`` cannot be taken over like that, so these are served, and the host that was
    asked for.

    Args:
        app: what answers the others.
        host: that the server was started with.
    """

    def __init__(self, app: ASGIApp, host: str) -> None:
        self.app = app
        self.host = host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def strict(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        problem = self._problem(Headers(scope=scope))
        answer = JSONResponse({"error": problem}, status_code=403) if problem else self.app
        await answer(scope, receive, strict)

    def _problem(self, headers: Headers) -> str | None:
        host, origin = headers.get("host", ""), headers.get("origin")
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            name = ""
        if name not in ("localhost", self.host.lower()) and not _is_address(name):
            return f"host {host!r} is not served; open the address that was printed at the start"
        if origin is not None and origin.partition("://")[2] != host:
            return f"requests of {origin!r} are not answered"
        site, mode = headers.get("sec-fetch-site"), headers.get("sec-fetch-mode")
        if site in ("cross-site", "same-site") and mode != "navigate":  # such as pictures, which name no origin
            return "requests of other sites are not answered"
        return None


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
