"""What is sent: requests of one kind, at a rate, or as fast as they come back.

Every request says how long its answer may take, so that whatever comes later counts as nothing.
"""

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import psutil

from loadtest.run.open_loop import OpenLoop, Outcome, Request
from loadtest.run.requests import Requests
from loadtest.run.service import Service
from loadtest.traffic import Lengths, Route, Sent, Tenant, Trace, Traffic, generate

_PATIENCE_S = 10.0


@dataclass(frozen=True, slots=True)
class Kind:
    """Requests of one route: so many texts or candidates of about so many tokens each."""

    route: Route
    items: int
    item_tokens: int
    query_tokens: int = 12

    def trace(
        self, rates: dict[str, float], seconds: float, seed: int = 1, *, spread: bool = True
    ) -> Trace:
        """Poisson arrivals of each tenant at its rate, requests a second."""
        sent = Sent(
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
class Sending:
    """What was sent: when it began and ended (monotonic), and the part of a core that the client
    took."""

    outcomes: Sequence[Outcome]
    began_s: float
    ended_s: float
    client_cores: float


def timed(requests: Iterator[Request], deadline_s: float) -> Iterator[Request]:
    for one in requests:
        yield replace(one, path=f"{one.path}?deadline_ms={round(1000 * deadline_s)}")


async def open_loop(
    service: Service, requests: Requests, trace: Trace, deadline_s: float
) -> Sending:
    """Returns when the last request has ended; `ended_s` is when the last was due."""
    before, began_s = _cpu_s(), time.monotonic()
    async with OpenLoop(service.url, service.keys, patience_s=deadline_s + _PATIENCE_S) as loop:
        await loop.run(timed(requests.of(trace), deadline_s), began_s)
    used = (_cpu_s() - before) / (time.monotonic() - began_s)
    return Sending(loop.outcomes, began_s, began_s + float(trace.at_s.max()), used)


async def closed_loop(
    service: Service, requests: Iterator[Request], at_once: int, seconds: float
) -> Sending:
    """So many at a time, each followed by the next."""
    before, began_s = _cpu_s(), time.monotonic()
    async with OpenLoop(service.url, service.keys, patience_s=120) as loop:

        async def send() -> None:
            while time.monotonic() < began_s + seconds:
                await loop.send(next(requests))

        await asyncio.gather(*(send() for _ in range(at_once)))
    ended_s = time.monotonic()
    return Sending(loop.outcomes, began_s, ended_s, (_cpu_s() - before) / (ended_s - began_s))


def _cpu_s() -> float:
    used = psutil.Process().cpu_times()
    return float(used.user + used.system)
