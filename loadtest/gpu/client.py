"""The load client: requests under way in a closed loop, one process's share of them."""

import asyncio
import itertools
from dataclasses import dataclass

import numpy as np

from loadtest.gpu.settings import QUERY_TOKENS
from loadtest.overload.load import closed_loop
from loadtest.run.requests import Requests
from loadtest.run.service import Service
from loadtest.traffic import Route

_TENANT = "default"
_WARM_UP_S = 2.0
# `Requests` counts two special tokens in a query.
_SPECIALS = 2


@dataclass(frozen=True, slots=True)
class Load:
    """`at_once` requests under way; texts are numbered from `first`, so that none repeat."""

    url: str
    key: str
    models: dict[str, str]
    route: Route
    items: int
    item_tokens: int
    at_once: int
    seconds: float
    first: int


@dataclass(frozen=True, slots=True)
class Served:
    """The outcome of a load: `sent` counts the warm-up, `problem` is the first failure's."""

    sent: int
    requests_per_s: float
    p50_ms: float
    p99_ms: float
    failed: int
    problem: str
    cores: float


def drive(load: Load) -> Served:
    """Send it, after a warm-up."""
    return asyncio.run(_drive(load))


async def _drive(load: Load) -> Served:
    requests = Requests(load.models, load.first)
    endless = (
        requests.one(0, _TENANT, load.route, QUERY_TOKENS + _SPECIALS, load.items, load.item_tokens)
        for _ in itertools.count()
    )
    service = Service(load.url, {_TENANT: load.key})
    warm = await closed_loop(service, endless, load.at_once, min(_WARM_UP_S, load.seconds))
    done = await closed_loop(service, endless, load.at_once, load.seconds)
    bad = [one for one in done.outcomes if one.failed]
    ms = [1000 * one.latency_s for one in done.outcomes if not one.failed]
    return Served(
        sent=len(warm.outcomes) + len(done.outcomes),
        requests_per_s=len(ms) / (done.ended_s - done.began_s),
        p50_ms=float(np.percentile(ms or [np.nan], 50)),
        p99_ms=float(np.percentile(ms or [np.nan], 99)),
        failed=len(bad),
        problem=bad[0].answer.message if bad else "",
        cores=done.client_cores,
    )
