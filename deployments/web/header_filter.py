"""ASGI middleware that drops the headers by which Serve is controlled, which clients may not send.

Serve imports `middlewares` by the name in RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH, calls it in
each process that listens for HTTP, and wraps its own handling in the result.
"""

import re

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

_SERVES_OWN = frozenset(
    {
        b"x-request-timeout-seconds",
        b"x-request-disconnect-disabled",
        b"x-session-id",
        b"serve-multiplexed-model-id",
    }
)
_SERVES_PREFIX = b"x-serve-router-"
_REQUEST_ID = b"x-request-id"
WELL_FORMED_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")


class HeaderFilter:
    """Drops Serve's control headers, and a malformed request id, in whose place Serve makes one."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if "headers" in scope:
            scope["headers"] = [one for one in scope["headers"] if _passes(*one)]
        await self._app(scope, receive, send)


def _passes(name: bytes, value: bytes) -> bool:
    # Serve reads an underscore as a hyphen.
    name = name.lower().replace(b"_", b"-")
    if name == _REQUEST_ID:
        return WELL_FORMED_ID.fullmatch(value) is not None
    return name not in _SERVES_OWN and not name.startswith(_SERVES_PREFIX)


def middlewares() -> list[Middleware]:
    return [Middleware(HeaderFilter)]
