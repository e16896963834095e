"""The request log: one line of JSON a request, for people and for programs.

A line says who asked which route, how it ended, how long each stage took and what it cost; never a
text, a query, a path or a key. It is written behind (`line_writer`).
"""

import random
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import orjson

from deployments.config import RequestLogConfig
from deployments.request.batch_run import longest_wait_s
from deployments.web.ended_request import EndedRequest
from deployments.web.line_writer import LineWriter

_OPTIONS = orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z


class RequestLog:
    """`now` is the time of day, seconds since the epoch."""

    def __init__(
        self, config: RequestLogConfig, write: Callable[[bytes], object], now: Callable[[], float]
    ) -> None:
        self._success_ratio = config.success_ratio
        self._now = now
        self._lines = LineWriter(write, self._dropped)

    def add(self, request: EndedRequest) -> None:
        """Log the request: always if it failed, else if it had a key and is one of the sample."""
        if request.status < 400 and (
            request.call is None or random.random() >= self._success_ratio
        ):
            return
        self._lines.add(orjson.dumps(self._fields(request), option=_OPTIONS))

    async def close(self) -> None:
        await self._lines.close()

    def _fields(self, request: EndedRequest) -> dict[str, Any]:
        fields: dict[str, Any] = {
            "time": self._time(),
            "event": "request",
            "request_id": request.request_id,
            "tenant": request.tenant,
            "method": request.method,
            "route": request.route,
            "status": request.status,
            "error": request.error,
            "duration_ms": round(request.duration_ms, 3),
        }
        if request.trace_id:
            fields["trace_id"] = request.trace_id
        call = request.call
        if call is None:
            return fields
        if call.timings is not None:
            fields["stages_ms"] = {
                name: round(ms, 3) for name, ms in call.timings.stages_ms.items()
            }
            queued_ms = {
                span.stage: round(longest_wait_s(span.runs) * 1000, 3)
                for span in call.timings.spans
                if span.runs
            }
            if queued_ms:
                fields["queued_ms"] = queued_ms
        if call.usage:
            tokens: dict[str, int] = {}
            cached: dict[str, int] = {}
            fields |= {"tokens": tokens, "cached_tokens": cached}
            for stage, count, found in call.usage:
                tokens[stage] = tokens.get(stage, 0) + count
                cached[stage] = cached.get(stage, 0) + found
        if call.degraded:
            fields["degraded"] = call.degraded
        return fields

    def _dropped(self, lines: int) -> bytes:
        fields = {"time": self._time(), "event": "request_log_dropped", "lines": lines}
        return orjson.dumps(fields, option=_OPTIONS)

    def _time(self) -> datetime:
        return datetime.fromtimestamp(self._now(), UTC)
