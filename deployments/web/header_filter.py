"""What a client may not say to Serve: headers by which Serve is told how to treat a request.

Serve calls `middlewares` in each process that listens for HTTP, where the environment variable
RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH names it, and puts what it gives around its own handling.
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
    """Drops Serve's control headers, and a request id that is not well formed, for which Serve then
    makes another."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if "headers" in scope:
            scope["headers"] = [one for one in scope["headers"] if _passes(*one)]
        await self._app(scope, receive, send)


def _passes(name: bytes, value: bytes) -> bool:
    # Serve takes an underscore for a hyphen.
    name = name.lower().replace(b"_", b"-")
    if name == _REQUEST_ID:
        return WELL_FORMED_ID.fullmatch(value) is not None
    return name not in _SERVES_OWN and not name.startswith(_SERVES_PREFIX)


def middlewares() -> list[Middleware]:
    return [Middleware(HeaderFilter)]
