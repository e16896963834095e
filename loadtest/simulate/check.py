"""Validation of the simulator: the same trace on a local cluster and in virtual time.

Service times are measured beside an idle cluster. The overhead of HTTP and calls is measured too:
the latency of single requests less what the simulator says of them. Under load, the cluster and the
client take cores from the engines: a flood of requests measures how much longer batches then take,
and loads are shares of the capacity that remains.
"""

import asyncio
import math
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deployments.autoscaling.arrivals import Stage
from loadtest.run.open_loop import OpenLoop
from loadtest.run.requests import Requests
from loadtest.run.service import Service, local_service, served_models
from loadtest.simulate.cell import STAGES, CellSpec, Outcome, simulate
from loadtest.simulate.policies import FixedPolicy
from loadtest.simulate.profiled import stage_spec
from loadtest.simulate.service_times import ServiceTimes, StageTimes, read_times
from loadtest.simulate.stage import StageSpec
from loadtest.traffic import ROUTES, Lengths, RequestKind, Route, Tenant, Trace, Traffic, generate
from loadtest.uncached import uncached_profile

_ROOT = Path(__file__).parents[2]
_TENANT = "a"
_ROUTES: tuple[Route, ...] = ("embed", "rerank")
_ITEMS, _ITEM_TOKENS = 8, 40
_SINGLE = 25
# Above the engine's capacity, and long enough that only its speed decides when the flood is done.
_FLOOD_LOAD, _FLOOD_S = 2.0, 4.0
# After a flood of virtual time, whose last answers come before its deadline.
_REST_S = 60.0


@dataclass(frozen=True, slots=True)
class Comparison:
    """One load, a share `loaded` of the engine's capacity; pairs are (measured, predicted)."""

    route: Route
    loaded: float
    requests: int
    failed: int
    requests_per_s: tuple[float, float]
    p50_s: tuple[float, float]
    p99_s: tuple[float, float]


def check(seconds: float, loads: tuple[float, ...]) -> tuple[StageTimes, list[Comparison]]:
    """Compare cluster and simulator for `seconds` at each of `loads`, shares of the capacity."""
    with local_service(uncached_profile(), {_TENANT: "default"}) as service:
        times = _times()
        requests = Requests(served_models(service.clients()[0]), first=0)
        for route in _ROUTES:
            asyncio.run(_drive(service, requests, _trace(route, 0.3, 2, times)))  # warm-up
        overhead_s = statistics.mean(
            _beyond_simulated(service, requests, _trace(route, 0.5, 60, times), times)
            for route in _ROUTES
        )
        times = times.model_copy(update={"overhead_s": overhead_s})
        for route in _ROUTES:
            flood = _trace(route, _FLOOD_LOAD, _FLOOD_S, times)
            seen = asyncio.run(_drive(service, requests, flood))
            times = _stretched(times, route, _span(flood, seen) / _predicted_span(times, flood))
        compared = []
        for route in _ROUTES:
            for loaded in loads:
                trace = _trace(route, loaded, seconds, times)
                seen = asyncio.run(_drive(service, requests, trace))
                compared.append(_compare(loaded, trace, seen, _predict(times, trace)))
    return times, compared


def _times() -> StageTimes:
    """Measure service times in another process, which returns its memory and threads."""
    with tempfile.TemporaryDirectory(prefix="w-check-") as directory:
        output = Path(directory) / "times.json"
        command = [sys.executable, "-m", "loadtest.simulate", "measure", "--output", str(output)]
        subprocess.run(command, check=True, cwd=_ROOT)
        return read_times(output)


def _trace(route: Route, loaded: float, seconds: float, times: StageTimes) -> Trace:
    """Make a trace of requests of `_ITEMS` texts, at the rate of this load."""
    spec = _stage_spec("embed" if route == "embed" else "rerank", times)
    # Every copy computes a batch of its own.
    limit = spec.copies * spec.times.tokens_per_s(spec.limits.max_batch_tokens, _ITEM_TOKENS)
    sent = RequestKind(
        route=route,
        share=1,
        items=_ITEMS,
        item=Lengths(median=_ITEM_TOKENS, sigma=0.4, highest=200),
        query=Lengths(median=12, sigma=0.3, highest=30),
    )
    # The mean of the log-normal, plus the query before each document.
    each = _ITEM_TOKENS * math.exp(0.4**2 / 2) + (12.5 if route == "rerank" else 0)
    rate = loaded * limit / (_ITEMS * each)
    tenants = (Tenant(name=_TENANT),)
    traffic = Traffic(duration_s=seconds, requests_per_s=rate, tenants=tenants, mix=(sent,))
    return generate(traffic, seed=5)


async def _drive(service: Service, requests: Requests, trace: Trace) -> NDArray[np.float64]:
    """Run the trace; return each request's latency in seconds, nan if it failed."""
    async with OpenLoop(service.url, service.keys) as loop:
        await loop.run(requests.of(trace))
    outcomes = sorted(loop.outcomes, key=lambda one: one.due_s)
    return np.array([math.nan if one.failed else one.latency_s for one in outcomes])


def _beyond_simulated(
    service: Service, requests: Requests, trace: Trace, times: StageTimes
) -> float:
    """Median latency of single requests less what the simulator says of them, seconds.

    Raises RuntimeError if one fails.
    """
    apart = replace(trace, at_s=np.arange(len(trace), dtype=np.float64)).until(_SINGLE)
    predicted_s = _predict(times, apart).latency_s
    seen_s = asyncio.run(_one_by_one(service, requests, apart))
    return max(0.0, float(np.median(seen_s - predicted_s)))


async def _one_by_one(service: Service, requests: Requests, trace: Trace) -> NDArray[np.float64]:
    """Latencies of requests sent one after the other, seconds. Raises RuntimeError if one fails."""
    latency_s = []
    async with OpenLoop(service.url, service.keys) as loop:
        for request in requests.of(trace):
            outcome = await loop.send(request)
            if outcome.failed:
                raise RuntimeError(outcome.answer.message)
            latency_s.append(outcome.latency_s)
    return np.array(latency_s)


def _stage(route: Route, times: StageTimes) -> ServiceTimes:
    return times.embed if route == "embed" else times.rerank


def _stretched(times: StageTimes, route: Route, factor: float) -> StageTimes:
    return times.model_copy(update={route: _stage(route, times).stretched(factor)})


def _span(trace: Trace, latency_s: NDArray[np.float64]) -> float:
    """Seconds from the first request to the last answer."""
    return float(np.nanmax(trace.at_s + latency_s) - trace.at_s[0])


def _predicted_span(times: StageTimes, trace: Trace) -> float:
    return _span(trace, _predict(times, trace).latency_s)


def _stage_spec(stage: Stage, times: StageTimes) -> StageSpec:
    return stage_spec(uncached_profile(), stage, _stage(stage, times))


def _predict(times: StageTimes, trace: Trace) -> Outcome:
    """Simulate the trace after a flood: the cluster too has measured what its engines do."""
    before = _trace(ROUTES[trace.routes[0]], _FLOOD_LOAD, _FLOOD_S, times)
    both = before.beside(replace(trace, at_s=trace.at_s + _REST_S))
    stages = {name: _stage_spec(name, times) for name in STAGES}
    spec = CellSpec(stages=stages, overhead_s=times.overhead_s)
    outcome = simulate(spec, {name: FixedPolicy() for name in STAGES}, both)
    return replace(outcome, trace=trace, latency_s=outcome.latency_s[len(before) :])


def _compare(
    loaded: float, trace: Trace, seen: NDArray[np.float64], predicted: Outcome
) -> Comparison:
    answered = seen[~np.isnan(seen)]

    def rate(latency_s: NDArray[np.float64]) -> float:
        return float((~np.isnan(latency_s)).sum() / _span(trace, latency_s))

    return Comparison(
        route=ROUTES[trace.routes[0]],
        loaded=loaded,
        requests=len(trace),
        failed=int(np.isnan(seen).sum()),
        requests_per_s=(rate(seen), rate(predicted.latency_s)),
        p50_s=(float(np.percentile(answered, 50)), predicted.percentile_s(50)),
        p99_s=(float(np.percentile(answered, 99)), predicted.percentile_s(99)),
    )
