"""Requests of one kind in an open loop, at a rate, or in a closed loop, at a concurrency.

In the open loop each request carries its deadline, so that late answers do not count as served.
"""

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import psutil

from loadtest.run.open_loop import OpenLoop, Outcome, Request
from loadtest.run.requests import Requests
from loadtest.run.service import Service
from loadtest.traffic import Lengths, RequestKind, Route, Tenant, Trace, Traffic, generate

_PATIENCE_S = 10.0


@dataclass(frozen=True, slots=True)
class Kind:
    """Requests of one route: `items` texts or candidates of about `item_tokens` tokens each."""

    route: Route
    items: int
    item_tokens: int
    query_tokens: int = 12

    def trace(
        self, rates: dict[str, float], seconds: float, seed: int = 1, *, spread: bool = True
    ) -> Trace:
        """Make Poisson arrivals of each tenant at its rate, requests/s; `spread` varies lengths."""
        sent = RequestKind(
            route=self.route,
            share=1,
            items=self.items,
            item=Lengths(median=self.item_tokens, sigma=0.3 if spread else 0),
            query=Lengths(median=self.query_tokens, sigma=0),
        )
        tenants = tuple(Tenant(name=name, share=rate) for name, rate in rates.items())
        total = sum(rates.values())
        traffic = Traffic(duration_s=seconds, requests_per_s=total, tenants=tenants, mix=(sent,))
        return generate(traffic, seed)


@dataclass(frozen=True, slots=True)
class LoadResult:
    """Outcomes of a load, its start and end (time.monotonic), and the cores the client used."""

    outcomes: Sequence[Outcome]
    began_s: float
    ended_s: float
    client_cores: float


def timed(requests: Iterator[Request], deadline_s: float) -> Iterator[Request]:
    """Give each request a deadline, in its query string."""
    for one in requests:
        yield replace(one, path=f"{one.path}?deadline_ms={round(1000 * deadline_s)}")


async def open_loop(
    service: Service, requests: Requests, trace: Trace, deadline_s: float
) -> LoadResult:
    """Send the trace; return when the last request has ended. `ended_s` is when it was due."""
    before, began_s = _cpu_s(), time.monotonic()
    async with OpenLoop(service.url, service.keys, patience_s=deadline_s + _PATIENCE_S) as loop:
        await loop.run(timed(requests.of(trace), deadline_s), began_s)
    used = (_cpu_s() - before) / (time.monotonic() - began_s)
    return LoadResult(loop.outcomes, began_s, began_s + float(trace.at_s.max()), used)


async def closed_loop(
    service: Service, requests: Iterator[Request], at_once: int, seconds: float
) -> LoadResult:
    """Keep `at_once` requests under way for `seconds`."""
    before, began_s = _cpu_s(), time.monotonic()
    async with OpenLoop(service.url, service.keys, patience_s=120) as loop:

        async def send() -> None:
            while time.monotonic() < began_s + seconds:
                await loop.send(next(requests))

        await asyncio.gather(*(send() for _ in range(at_once)))
    ended_s = time.monotonic()
    return LoadResult(loop.outcomes, began_s, ended_s, (_cpu_s() - before) / (ended_s - began_s))


def _cpu_s() -> float:
    used = psutil.Process().cpu_times()
    return float(used.user + used.system)
