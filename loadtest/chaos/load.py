"""Steady traffic to one service: requests leave at their time whether or not others came back, so
that a slow service cannot hide its queue.

Tells a connection that was cut or refused, which a client may try again, from an answer that is an
error. Such a request is tried once more, a second later, as the vendors' clients do.
"""

import asyncio
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx

RETRY_PAUSE_S = 1.0
_TIMEOUT_S = 60.0
_CUT = (httpx.NetworkError, httpx.RemoteProtocolError, httpx.ConnectTimeout)

COLLECTION = "chaos"
_WORDS = ("harbour", "orchard", "glacier", "lantern", "meadow", "quarry", "violin", "saffron")

Request = tuple[str, Any]


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one request: when it was due and when it ended (seconds, monotonic), how often it was
    sent, and what the last answer was if it is no 200."""

    due_s: float
    ended_s: float
    tries: int
    problem: str | None


class Load:
    """`rates` are requests a second by kind: search, embed, rerank, upsert."""

    def __init__(self, url: str, api_key: str, rates: dict[str, float]) -> None:
        self.outcomes: list[Outcome] = []
        self._client = httpx.AsyncClient(
            base_url=url,
            headers={"authorization": f"Bearer {api_key}"},
            timeout=_TIMEOUT_S,
            trust_env=False,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=20),
        )
        self._rates = rates
        self._numbers = itertools.count()
        self._in_flight: set[asyncio.Task[None]] = set()

    async def prepare(self) -> None:
        """A collection with something to find."""
        answer = await self._client.put(f"/v1/collections/{COLLECTION}")
        answer.raise_for_status()
        for _ in range(20):
            path, body = self._upsert()
            (await self._client.post(path, json=body)).raise_for_status()

    async def run(self) -> None:
        """Until cancelled."""
        kinds: dict[str, Callable[[], Request]] = {
            "search": self._search,
            "embed": self._embed,
            "rerank": self._rerank,
            "upsert": self._upsert,
        }
        async with asyncio.TaskGroup() as group:
            for kind, rate in self._rates.items():
                group.create_task(self._send_at(rate, kinds[kind]))

    async def drain(self) -> None:
        """Returns when every request that was sent has ended."""
        if self._in_flight:
            await asyncio.wait(set(self._in_flight))
        await self._client.aclose()

    async def _send_at(self, rate: float, make: Callable[[], Request]) -> None:
        due_s = time.monotonic()
        while True:
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            task = asyncio.create_task(self._send(due_s, *make()))
            self._in_flight.add(task)
            task.add_done_callback(self._in_flight.discard)
            due_s += 1 / rate

    async def _send(self, due_s: float, path: str, body: Any) -> None:
        tries = 1
        problem = await self._try(path, body)
        if problem is not None and problem.startswith("cut"):
            await asyncio.sleep(RETRY_PAUSE_S)
            tries, problem = 2, await self._try(path, body)
        self.outcomes.append(Outcome(due_s, time.monotonic(), tries, problem))

    async def _try(self, path: str, body: Any) -> str | None:
        try:
            answer = await self._client.post(path, json=body)
        except _CUT as error:
            return f"cut: {type(error).__name__}"
        except httpx.TimeoutException:
            return f"no answer in {_TIMEOUT_S:g} s"
        if answer.status_code == 200:
            return None
        return f"{path} {answer.status_code}: {answer.text[:200]}"

    # Texts are never sent twice: a cache would answer for a stage that is down.
    def _text(self) -> str:
        number = next(self._numbers)
        word = _WORDS[number % len(_WORDS)]
        return f"Note {number}: the {word} lies beyond the {_WORDS[number // 8 % 8]}."

    def _search(self) -> Request:
        body = {"collection": COLLECTION, "query": self._text(), "top_k": 5, "top_n": 3}
        return "/v1/search", body

    def _embed(self) -> Request:
        texts = [self._text(), self._text()]
        return "/v1/embeddings", {"model": "all-MiniLM-L6-v2", "input": texts}

    def _rerank(self) -> Request:
        return "/v1/rerank", {"query": self._text(), "documents": [self._text() for _ in range(4)]}

    def _upsert(self) -> Request:
        number = next(self._numbers)
        documents = [{"id": f"{number}-{n}", "text": self._text()} for n in range(2)]
        return f"/v1/collections/{COLLECTION}/documents", {"documents": documents}
