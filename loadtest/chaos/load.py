"""Evenly spaced traffic for the chaos runner: a gap in the answers is then a gap in the service.

A request whose connection was cut is sent once more, a second later, as the vendors' clients do.
Knows no fault.
"""

import asyncio
import heapq
import itertools
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager

from cluster.client import WinnowClient
from loadtest.run.open_loop import OpenLoop, Request
from loadtest.run.requests import Requests
from loadtest.run.service import fill, served_models
from loadtest.traffic import Route

_RETRY_PAUSE_S = 1.0
_TENANT = "default"
_COLLECTION = "chaos"
_DOCUMENTS = 40
_TOKENS = 16
# Texts, documents or candidates a request.
_ITEMS: dict[Route, int] = {"search": 5, "embed": 2, "rerank": 4, "ingest": 2}


@asynccontextmanager
async def steady_load(
    url: str, api_key: str, rates: Mapping[Route, float]
) -> AsyncIterator[OpenLoop]:
    """Send `rates` requests a second by route, until the block is left.

    On leaving it waits for the requests under way, and sends none.
    """
    requests = await asyncio.to_thread(_prepare, WinnowClient(url, api_key))
    async with (
        OpenLoop(url, {_TENANT: api_key}, retry_cut_after_s=_RETRY_PAUSE_S) as loop,
        loop.sending(_steady(requests, rates)),
    ):
        yield loop


def _prepare(client: WinnowClient) -> Requests:
    """Fill the collection that searches read."""
    first = time.time_ns() // 1000
    requests = Requests(served_models(client), first, collection=_COLLECTION)
    fill(client, requests, [_TOKENS] * _DOCUMENTS)
    return requests


def _steady(requests: Requests, rates: Mapping[Route, float]) -> Iterator[Request]:
    for at_s, route in heapq.merge(*(_every(route, rate) for route, rate in rates.items())):
        asks = route in ("search", "rerank")
        yield requests.one(at_s, _TENANT, route, _TOKENS if asks else 0, _ITEMS[route], _TOKENS)


def _every(route: Route, rate: float) -> Iterator[tuple[float, Route]]:
    return ((n / rate, route) for n in itertools.count())
