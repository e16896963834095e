"""The open loop: each request leaves when it is due, whether or not others have been answered.

So a slow service cannot hide its queue. Latency counts from when a request was due, and the
client's own delay is recorded, so a slow client cannot hide either. Knows HTTP and the form of
Winnow's errors; requests come ready made. The only module here that knows aiohttp: a request costs
0.18 ms of a core with it and 0.6 ms with httpx, and client and service share the cores.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import aiohttp

from cluster.haproxy import NO_ROUTER
from loadtest.traffic import Route

CUT, SILENT = "cut", "silent"

_DEGRADED = b'"degraded":'  # a quote inside a document's text is escaped
_SHOWN_BYTES = 200


@dataclass(frozen=True, slots=True)
class Request:
    """A POST, due `at_s` seconds after the start of the run; `body` is JSON."""

    at_s: float
    tenant: str
    route: Route
    path: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, or the lack of one (`status` None).

    `error` is None for a success. Else it is the error's code (`http_STATUS` without one); CUT for
    a connection that was cut or refused or whose Router was lost, which a client may try again; or
    SILENT without an answer in time. A `degraded` search was not reranked.
    """

    status: int | None
    error: str | None = None
    message: str = ""
    retry_after_s: float | None = None
    degraded: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """The answer to the last of one request's `tries`. Times are time.monotonic's."""

    tenant: str
    route: Route
    due_s: float
    sent_s: float
    ended_s: float
    tries: int
    answer: Answer

    @property
    def failed(self) -> bool:
        return self.answer.error is not None

    @property
    def latency_s(self) -> float:
        return self.ended_s - self.due_s

    @property
    def client_late_s(self) -> float:
        return self.sent_s - self.due_s


class OpenLoop:
    """Sends requests to the service at `url`, with the API key of each tenant in `keys`.

    A request waits `patience_s` for its answer. With `retry_cut_after_s`, a request that was cut is
    sent once more after that pause, as the vendors' clients do. `outcomes` are in the order in
    which requests end.
    """

    def __init__(
        self,
        url: str,
        keys: Mapping[str, str],
        *,
        patience_s: float = 60.0,
        retry_cut_after_s: float | None = None,
    ) -> None:
        self.outcomes: list[Outcome] = []
        self.sent = 0
        self._url = url.rstrip("/")
        self._headers = {
            tenant: {"authorization": f"Bearer {key}", "content-type": "application/json"}
            for tenant, key in keys.items()
        }
        self._patience_s = patience_s
        self._retry_cut_after_s = retry_cut_after_s
        self._in_flight: set[asyncio.Task[Outcome]] = set()

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=self._patience_s),
            connector=aiohttp.TCPConnector(limit=0),
            headers={"accept-encoding": "identity"},
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        for task in self._in_flight:
            task.cancel()
        await self._session.close()

    async def run(self, requests: Iterable[Request], start_s: float | None = None) -> None:
        """Send each request at its time after `start_s` (default: now); return when all have ended.

        `requests` must be in order of time; the iterator is advanced as they are sent.
        """
        start_s = time.monotonic() if start_s is None else start_s
        for request in requests:
            due_s = start_s + request.at_s
            # Also lets answers be read when the client is behind.
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            task = asyncio.create_task(self.send(request, due_s))
            self._in_flight.add(task)
            task.add_done_callback(self._in_flight.discard)
        await self.drain()

    @asynccontextmanager
    async def sending(self, requests: Iterable[Request]) -> AsyncIterator[None]:
        """Send requests, as `run` does, during the block; on leaving wait for those under way."""
        task = asyncio.create_task(self.run(requests))
        try:
            yield
        finally:
            task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await self.drain()

    async def drain(self) -> None:
        """Return when every request that was sent has ended."""
        while self._in_flight:
            await asyncio.wait(set(self._in_flight))

    async def send(self, request: Request, due_s: float | None = None) -> Outcome:
        """Send one request now; return its outcome, also added to `outcomes`."""
        self.sent += 1
        sent_s = time.monotonic()
        tries, answer = 1, await self._try(request)
        if answer.error == CUT and self._retry_cut_after_s is not None:
            await asyncio.sleep(self._retry_cut_after_s)
            tries, answer = 2, await self._try(request)
        outcome = Outcome(
            request.tenant,
            request.route,
            sent_s if due_s is None else due_s,
            sent_s,
            time.monotonic(),
            tries,
            answer,
        )
        self.outcomes.append(outcome)
        return outcome

    async def _try(self, request: Request) -> Answer:
        url, headers = self._url + request.path, self._headers[request.tenant]
        try:
            async with self._session.post(url, data=request.body, headers=headers) as response:
                body = await response.read()
        except TimeoutError:
            return Answer(None, SILENT, f"{request.path}: no answer in {self._patience_s:g} s")
        except aiohttp.ClientError as error:
            return Answer(None, CUT, f"{request.path}: cut, {type(error).__name__}")
        if NO_ROUTER.encode() in body:
            return Answer(response.status, CUT, f"{request.path}: its Router was lost")
        if response.ok:
            return Answer(response.status, degraded=_DEGRADED in body)
        said = body[:_SHOWN_BYTES].decode(errors="replace")
        return Answer(
            response.status,
            _code(response.status, body),
            f"{request.path}: {response.status} {said}",
            _retry_after_s(response.headers),
        )


def _code(status: int, body: bytes) -> str:
    try:
        return str(json.loads(body)["error"]["code"])
    except (ValueError, KeyError, TypeError):
        return f"http_{status}"  # HAProxy's own pages, Cohere's dialect


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    try:
        if "retry-after-ms" in headers:
            return float(headers["retry-after-ms"]) / 1000
        return float(headers["retry-after"])
    except (KeyError, ValueError):
        return None  # Winnow sends no dates
