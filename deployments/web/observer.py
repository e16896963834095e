"""ASGI middleware that sees how each request ends, and tells the request log.

Stands around the whole application: an unknown route, a refused key and a defect are requests too.
"""

import re
from asyncio import CancelledError
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deployments.errors import InternalError
from deployments.request.deadline import Clock
from deployments.web.ended_request import EndedRequest
from deployments.web.request_log import RequestLog

# Of a client that closed its connection, as nginx has it: only logs and metrics see it.
CLIENT_CLOSED = 499
_TRACEPARENT = re.compile(rb"[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


class Observer:
    def __init__(self, app: ASGIApp, log: RequestLog, clock: Clock) -> None:
        self._app = app
        self._log = log
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began_s = self._clock()
        state: dict[str, Any] = scope.setdefault("state", {})
        status = 0

        async def send_and_note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, send_and_note)
        except CancelledError:
            status = CLIENT_CLOSED
            raise
        except Exception:
            status = InternalError.status
            state["error"] = InternalError.code
            raise
        finally:
            self._end(scope, state, status, began_s)

    def _end(self, scope: Scope, state: dict[str, Any], status: int, began_s: float) -> None:
        request_id, traceparent = _identity(scope)
        route = scope.get("route")
        self._log.add(
            EndedRequest(
                request_id,
                scope["method"],
                getattr(route, "path_format", None),
                status,
                state.get("error"),
                began_s,
                self._clock(),
                state.get("call"),
                traceparent,
            )
        )


def _identity(scope: Scope) -> tuple[str, str]:
    """Return the request's id, and the trace id that its client sent; either may be empty."""
    request_id, trace_id = "", ""
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            request_id = value.decode("latin-1")
        elif name == b"traceparent" and (found := _TRACEPARENT.fullmatch(value)):
            trace_id = found[1].decode()
    return request_id, trace_id
