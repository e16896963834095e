"""One line a request: what is in it, when there is none, and that writing it holds nobody up."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from deployments.config import RequestLogConfig
from deployments.request.batch_run import BatchRun
from deployments.request.timings import Timings
from deployments.tenants.admission import Admission, Admitted
from deployments.tenants.api_keys import Tenant
from deployments.tenants.rate_limits.local import MemoryLimiter
from deployments.web import line_writer
from deployments.web.line_writer import LineWriter
from deployments.web.observer import Observer
from deployments.web.request_log import RequestLog
from deployments.web.request_metrics import NO_METRICS
from tests.unit.service import TestService

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


class _Log:
    """A request log, and the lines that it has written once it is closed."""

    def __init__(self, success_ratio: float = 1.0) -> None:
        self._written = b""
        config = RequestLogConfig(success_ratio=success_ratio)
        self.log = RequestLog(config, self._write, lambda: 1_700_000_000.5)

    def _write(self, lines: bytes) -> None:
        self._written += lines

    async def lines(self) -> list[dict[str, Any]]:
        await self.log.close()
        return [json.loads(line) for line in self._written.splitlines()]


class _Route:
    path_format = "/v1/collections/{name}"


def _call() -> Admitted:
    tenant = Tenant("acme")
    admission = Admission(MemoryLimiter(), lambda: 1, lambda *_: None)
    call = admission.begin(tenant)
    call.timings = Timings(iter([0.0, 1.0, 1.25]).__next__)
    with call.timings.stage("embed"):
        call.timings.ran((BatchRun(2, 8, 100, 0.03, 0.2, "r1"),))
    call.count("embed", 5, 2)
    call.count("embed", 1, 0)
    call.degraded = ("rerank",)
    return call


async def _send(log: _Log, headers: dict[str, str], answer: Any) -> None:
    """Send a request through the observer to `answer`, an ASGI application."""
    clock = iter([10.0, 10.5])
    observed = Observer(answer, log.log, NO_METRICS, clock.__next__)
    transport = httpx.ASGITransport(observed, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://winnow") as client:
        await client.put("/v1/collections/secret-name", headers=headers)


async def _answers_200(scope: Scope, _: Receive, send: Send) -> None:
    scope["route"] = _Route()
    scope["state"]["call"] = _call()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def _answers_404(scope: Scope, _: Receive, send: Send) -> None:
    scope["state"]["error"] = "not_found"
    await send({"type": "http.response.start", "status": 404, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def test_line_of_a_success() -> None:
    log = _Log()
    headers = {"x-request-id": "abc-1", "traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
    await _send(log, headers, _answers_200)
    assert await log.lines() == [
        {
            "time": "2023-11-14T22:13:20.500000Z",
            "event": "request",
            "request_id": "abc-1",
            "tenant": "acme",
            "method": "PUT",
            "route": "/v1/collections/{name}",
            "status": 200,
            "error": None,
            "duration_ms": 500.0,
            "trace_id": TRACE,
            "stages_ms": {"embed": 250.0},
            "queued_ms": {"embed": 30.0},
            "tokens": {"embed": 6},
            "cached_tokens": {"embed": 2},
            "degraded": ["rerank"],
        }
    ]


async def test_a_path_without_a_route_is_not_in_the_line() -> None:
    log = _Log()
    await _send(log, {}, _answers_404)
    [line] = await log.lines()
    assert (line["status"], line["error"], line["route"]) == (404, "not_found", None)
    assert "secret-name" not in json.dumps(line)


async def test_an_application_that_raises() -> None:
    async def raises(*_: object) -> None:
        raise RuntimeError

    log = _Log()
    await _send(log, {}, raises)
    [line] = await log.lines()
    assert (line["status"], line["error"]) == (500, "internal_error")


async def test_a_client_that_has_gone() -> None:
    async def waits(*_: object) -> None:
        await asyncio.sleep(60)

    log = _Log()
    task = asyncio.create_task(_send(log, {}, waits))
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait([task])
    [line] = await log.lines()
    assert (line["status"], line["error"]) == (499, "client_closed")


@pytest.mark.parametrize(
    "malformed",
    [f"00-{'0' * 32}-00f067aa0ba902b7-01", f"00-{TRACE}-{'0' * 16}-01", f"00-{TRACE}", "x"],
)
async def test_a_malformed_trace_is_none(malformed: str) -> None:
    log = _Log()
    await _send(log, {"traceparent": malformed}, _answers_200)
    [line] = await log.lines()
    assert "trace_id" not in line


async def test_without_successes_only_failures_have_a_line() -> None:
    log = _Log(success_ratio=0.0)
    for answer in (_answers_200, _answers_404, _answers_200):
        await _send(log, {}, answer)
    assert [line["status"] for line in await log.lines()] == [404]


async def test_a_probe_that_succeeds_has_no_line() -> None:
    async def probe(_: Scope, __: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    log = _Log()
    await _send(log, {}, probe)
    assert await log.lines() == []


class _Slow:
    """Something that reads lines, and does not until it is let."""

    def __init__(self) -> None:
        self.began = threading.Event()
        self.may_write = threading.Event()
        self.written: list[bytes] = []

    def __call__(self, lines: bytes) -> None:
        self.began.set()
        self.may_write.wait(10)
        self.written.append(lines)


@pytest.fixture
async def slow(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[_Slow]:
    monkeypatch.setattr(line_writer, "_WRITE_EVERY_S", 0.0)
    slow = _Slow()
    yield slow
    slow.may_write.set()


async def test_a_slow_reader_holds_nobody_up_and_lines_are_dropped_and_counted(
    slow: _Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line_writer, "_MAX_LINES", 2)
    writer = LineWriter(slow, lambda count: b"%d dropped\n" % count)
    writer.add(b"first\n")
    await asyncio.to_thread(slow.began.wait, 10)
    for line in (b"second\n", b"third\n", b"fourth\n", b"fifth\n"):
        writer.add(line)
    slow.may_write.set()
    await writer.close()
    assert b"".join(slow.written) == b"first\nsecond\nthird\n2 dropped\n"


async def test_lines_are_written_without_a_close(slow: _Slow) -> None:
    slow.may_write.set()
    writer = LineWriter(slow, lambda _: b"")
    for line in (b"first\n", b"second\n"):
        writer.add(line)
        while slow.written[-1:] != [line]:
            await asyncio.sleep(0.001)


async def test_a_full_disk_fails_no_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_writer, "_WRITE_EVERY_S", 0.0)

    def full(_: bytes) -> None:
        raise OSError(28, "No space left on device")

    writer = LineWriter(full, lambda _: b"")
    for _ in range(2):
        writer.add(b"line\n")
        await asyncio.sleep(0.02)
    await writer.close()


async def test_requests_of_the_application(tmp_path: Path) -> None:
    service = await TestService.open(tmp_path)
    await service.logged()
    asked = {"query": "a", "documents": ["b", "c"]}
    try:
        await service.post("/v1/rerank", json=asked)
        await service.post("/v1/rerank", json=asked, key="wn_live_wrong")
        await service.send("DELETE", "/v1/collections/a", key=await service.new_key("b", "read"))
        service.plan(requests_per_min=1)
        await service.post("/v1/rerank", json=asked)
        await service.post("/v1/rerank", json=asked)
        await service.post("/nowhere", json=asked)
        lines = await service.logged()
    finally:
        await service.close()
    seen = [(line["tenant"], line["route"], line["status"], line["error"]) for line in lines]
    assert seen == [
        ("tenant", "/v1/rerank", 200, None),
        (None, "/v1/rerank", 401, "invalid_api_key"),
        ("b", "/v1/collections/{name}", 403, "insufficient_scope"),
        ("tenant", "/v1/rerank", 200, None),
        ("tenant", "/v1/rerank", 429, "rate_limit_exceeded"),
        (None, None, 404, "not_found"),
    ]
    assert lines[0]["tokens"] == {"rerank": 2}
