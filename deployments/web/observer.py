"""ASGI middleware that sees how each request ends, and tells the request log, metrics and traces.

Stands around the whole application: an unknown route, a refused key and a defect are requests too.
"""

import re
from asyncio import CancelledError
from collections.abc import Iterable
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deployments.errors import InternalError
from deployments.request.deadline import Clock
from deployments.web.ended_request import EndedRequest
from deployments.web.request_log import RequestLog
from deployments.web.request_metrics import RequestMetrics, count
from deployments.web.tracing import Tracing

# Of a client that closed its connection, as nginx has it: only logs and metrics see it.
CLIENT_CLOSED = 499
# The header of an answer that names the span in which it was made.
_RESPONSE = b"traceresponse"
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


class Observer:
    def __init__(
        self,
        app: ASGIApp,
        log: RequestLog,
        metrics: RequestMetrics,
        clock: Clock,
        tracing: Tracing | None = None,
    ) -> None:
        self._app = app
        self._log = log
        self._metrics = metrics
        self._clock = clock
        self._tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began_s = self._clock()
        state: dict[str, Any] = scope.setdefault("state", {})
        request_id, traceparent = _identity(scope["headers"])
        trace = self._tracing and self._tracing.begin(scope["method"], traceparent, began_s)
        status = 0

        async def send_and_note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if trace:
                    given = message.get("headers", ())
                    message["headers"] = [*given, (_RESPONSE, trace.response_header)]
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
            ended = EndedRequest(
                request_id,
                scope["method"],
                getattr(scope.get("route"), "path_format", None),
                status,
                "client_closed" if status == CLIENT_CLOSED else state.get("error"),
                began_s,
                self._clock(),
                state.get("call"),
                trace.id if trace else _trace_id(traceparent),
            )
            self._log.add(ended)
            count(self._metrics, ended)
            if self._tracing and trace:
                self._tracing.end(trace, ended)


def _identity(headers: Iterable[tuple[bytes, bytes]]) -> tuple[str, str]:
    """Return the request's id and its `traceparent`; either may be empty."""
    request_id, traceparent = b"", b""
    for name, value in headers:
        if name == b"x-request-id":
            request_id = value
        elif name == b"traceparent":
            traceparent = value
    return request_id.decode("latin-1"), traceparent.decode("latin-1")


def _trace_id(traceparent: str) -> str:
    found = traceparent and _TRACEPARENT.fullmatch(traceparent)
    return found[1] if found else ""
