"""Latency at a given rate: the same arrivals for every server, in an open loop."""

import asyncio
import random
import time
from collections.abc import Iterator, Sequence

from loadtest.bench.servers import Endpoint
from loadtest.run.open_loop import OpenLoop, Request
from loadtest.run.results import Results

_TENANT = "bench"
_PATIENCE_S = 60.0
_SEED = 1


def drive(endpoint: Endpoint, bodies: Sequence[str], requests_per_s: float) -> Results:
    """Send `bodies` at `requests_per_s`, Poisson arrivals; return when all have been answered."""
    return asyncio.run(_drive(endpoint, bodies, requests_per_s))


async def _drive(endpoint: Endpoint, bodies: Sequence[str], requests_per_s: float) -> Results:
    keys = {_TENANT: endpoint.key}
    async with OpenLoop(endpoint.base, keys, patience_s=_PATIENCE_S) as loop:
        start_s = time.monotonic()
        await loop.run(_requests(endpoint.path, bodies, requests_per_s), start_s)
    return Results.of(loop.outcomes, start_s)


def _requests(path: str, bodies: Sequence[str], requests_per_s: float) -> Iterator[Request]:
    arrivals, at_s = random.Random(_SEED), 0.0
    for body in bodies:
        at_s += arrivals.expovariate(requests_per_s)
        yield Request(at_s, _TENANT, "embed", path, body.encode())
