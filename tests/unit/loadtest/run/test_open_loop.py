"""The open loop against a server that is slow or fails on demand: no delay stays hidden."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from loadtest.run.open_loop import CUT, SILENT, OpenLoop, Request

_KEYS = {"a": "key-of-a", "b": "key-of-b"}


class Server:
    """A server that does what `/{what}` names."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self._cuts = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.keys.append(request.headers["authorization"])
        what = request.match_info["what"]
        if what == "slow":
            await asyncio.sleep(1)
        if what == "cut" or (what == "cut-once" and self._first_cut()):
            assert request.transport is not None
            request.transport.abort()
        if what == "busy":
            headers = {"retry-after": "2", "retry-after-ms": "1500"}
            error = {"error": {"code": "overloaded"}}
            return web.json_response(error, status=503, headers=headers)
        if what == "proxy":
            return web.Response(status=404, text="<html>", headers={"retry-after": "tomorrow"})
        if what == "degraded":
            return web.json_response({"results": [], "degraded": ["rerank"]})
        return web.json_response({"results": [{"text": 'it says "degraded": no'}]})

    def _first_cut(self) -> bool:
        self._cuts += 1
        return self._cuts == 1


@asynccontextmanager
async def serving(server: Server) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_post("/{what}", server.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield site.name
    finally:
        await runner.cleanup()


def request(what: str, at_s: float = 0, tenant: str = "a") -> Request:
    return Request(at_s, tenant, "search", f"/{what}", b"{}")


async def test_requests_leave_on_time_while_none_has_come_back() -> None:
    server = Server()
    async with serving(server) as url, OpenLoop(url, _KEYS) as loop:
        await loop.run(request("slow", n * 0.02, "ab"[n % 2]) for n in range(15))
        assert loop.sent == len(loop.outcomes) == 15
    last_sent = max(one.sent_s for one in loop.outcomes)
    first_ended = min(one.ended_s for one in loop.outcomes)
    assert last_sent < first_ended
    due_s = [one.due_s for one in loop.outcomes]
    assert max(due_s) - min(due_s) == pytest.approx(14 * 0.02)
    assert server.keys[:2] == ["Bearer key-of-a", "Bearer key-of-b"]


async def test_endless_requests_end_with_their_block_and_all_that_left_are_answered() -> None:
    async with serving(Server()) as url, OpenLoop(url, _KEYS) as loop:
        async with loop.sending(request("slow", n * 0.02) for n in itertools.count()):
            await asyncio.sleep(0.1)
            assert loop.sent > len(loop.outcomes) == 0
        sent = loop.sent
        await asyncio.sleep(0.1)
        assert sent == loop.sent == len(loop.outcomes)
    assert not any(one.failed for one in loop.outcomes)


async def test_latency_counts_from_when_a_request_was_due() -> None:
    async with serving(Server()) as url, OpenLoop(url, _KEYS) as loop:
        # Should have left half a second ago: the client, not the service, is late.
        await loop.run([request("fast")], time.monotonic() - 0.5)
    [outcome] = loop.outcomes
    assert outcome.client_late_s >= 0.5
    assert outcome.latency_s >= outcome.client_late_s


@pytest.mark.parametrize(
    ("what", "status", "error", "retry_after_s", "degraded"),
    [
        ("fast", 200, None, None, False),
        ("degraded", 200, None, None, True),
        ("busy", 503, "overloaded", 1.5, False),
        ("proxy", 404, "http_404", None, False),
        ("cut", None, CUT, None, False),
    ],
)
async def test_what_an_answer_says_is_kept(
    what: str, status: int | None, error: str | None, retry_after_s: float | None, degraded: bool
) -> None:
    async with serving(Server()) as url, OpenLoop(url, _KEYS) as loop:
        answer = (await loop.send(request(what))).answer
    assert (answer.status, answer.error, answer.degraded) == (status, error, degraded)
    assert answer.retry_after_s == retry_after_s
    assert (error is None) == (answer.message == "")


async def test_a_cut_request_is_sent_once_more() -> None:
    async with serving(Server()) as url, OpenLoop(url, _KEYS, retry_cut_after_s=0.05) as loop:
        once, always = [await loop.send(request(what)) for what in ("cut-once", "cut")]
    assert (once.tries, once.failed) == (2, False)
    assert once.latency_s >= 0.05
    assert (always.tries, always.answer.error) == (2, CUT)


async def test_no_server_is_a_cut_and_a_silent_one_ends_patience() -> None:
    async with OpenLoop("http://127.0.0.1:9", _KEYS) as loop:
        assert (await loop.send(request("fast"))).answer.error == CUT
    async with serving(Server()) as url, OpenLoop(url, _KEYS, patience_s=0.1) as loop:
        assert (await loop.send(request("slow"))).answer.error == SILENT
