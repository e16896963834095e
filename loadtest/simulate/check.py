"""The simulator against reality: the same trace on a local cluster and in virtual time.

The cluster's engines share the machine's cores with its other processes and the client, so service
times are measured beside a cluster that is up and idle. What HTTP and the way to the engine cost is
measured as well: single requests on the idle service, less the engine's part.
"""

import asyncio
import math
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import yaml
from numpy.typing import NDArray

from cluster.profile import load_profile
from cluster.state import State
from deployments.batcher import BatchLimits
from deployments.configs import CallLimits
from deployments.demand import Stage
from loadtest.command_line import winnow
from loadtest.simulate.cell import STAGES, CellSpec, Outcome, simulate
from loadtest.simulate.policies import FixedPolicy
from loadtest.simulate.service_times import StageTimes, read_times
from loadtest.simulate.stage import StageSpec
from loadtest.traffic import ROUTES, Lengths, Route, Sent, Trace, Traffic, generate

_ROOT = Path(__file__).parents[2]
_PORT = 8093
_ROUTES: tuple[Route, ...] = ("embed", "rerank")
_MODELS = {"embed": "all-MiniLM-L6-v2", "rerank": "ms-marco-MiniLM-L-12-v2"}
_ITEMS, _ITEM_TOKENS = 8, 40
_SINGLE = 25
# [CLS] and [SEP], and a [SEP] more in a pair.
_SPECIAL = {"embed": 2, "rerank": 1}


@dataclass(frozen=True, slots=True)
class Compared:
    """`loaded` is the share of what the fitted engine does when its batches are full."""

    route: Route
    loaded: float
    requests: int
    failed: int
    requests_per_s: tuple[float, float]
    p50_s: tuple[float, float]
    p99_s: tuple[float, float]


def check(seconds: float, loads: tuple[float, ...]) -> tuple[StageTimes, list[Compared]]:
    """Pairs are (measured, predicted)."""
    with _winnow() as (url, headers, work):
        times = _times(work)
        for route in _ROUTES:
            asyncio.run(_drive(url, headers, _trace(route, 0.3, 2, times)))  # it warms up
        overhead_s = statistics.mean(
            asyncio.run(_single(url, headers, route, times)) for route in _ROUTES
        )
        times = times.model_copy(update={"overhead_s": overhead_s})
        compared = []
        for route in _ROUTES:
            for loaded in loads:
                trace = _trace(route, loaded, seconds, times)
                seen = asyncio.run(_drive(url, headers, trace))
                compared.append(_compare(loaded, trace, seen, _predict(times, trace)))
    return times, compared


@contextmanager
def _winnow() -> Iterator[tuple[str, dict[str, str], Path]]:
    """The local profile without its cache of embeddings."""
    work = Path(tempfile.mkdtemp(prefix="w-check-", dir="/tmp"))
    profile = load_profile("local")
    profile["applications"][0]["args"]["router"]["embed_cache"] = {"max_bytes": 0}
    (work / "check.yaml").write_text(yaml.safe_dump(profile))
    state = work / "state"
    winnow(state, "up", "--profile", str(work / "check.yaml"), "--port", str(_PORT))
    try:
        key = State(state).api_key()
        yield f"http://127.0.0.1:{_PORT}", {"authorization": f"Bearer {key}"}, work
    finally:
        winnow(state, "down")
        shutil.rmtree(work)


def _times(work: Path) -> StageTimes:
    """In a process of its own, that gives its memory and threads back."""
    output = work / "times.json"
    command = [sys.executable, "-m", "loadtest.simulate", "measure", "--output", str(output)]
    subprocess.run(command, check=True, cwd=_ROOT)
    return read_times(output)


def _trace(route: Route, loaded: float, seconds: float, times: StageTimes) -> Trace:
    """Requests of `_ITEMS` texts, as many as make the load."""
    model = times.embed if route == "embed" else times.rerank
    limit = model.tokens_per_s(_limits(route).max_batch_tokens, _ITEM_TOKENS)
    sent = Sent(
        route=route,
        share=1,
        items=_ITEMS,
        item=Lengths(median=_ITEM_TOKENS, sigma=0.4, highest=200),
        query=Lengths(median=12, sigma=0.3, highest=30),
    )
    # Mean of the log-normal, and the query before each document.
    each = _ITEM_TOKENS * math.exp(0.4**2 / 2) + (12.5 if route == "rerank" else 0)
    rate = loaded * limit / (_ITEMS * each)
    return generate(Traffic(duration_s=seconds, requests_per_s=rate, mix=(sent,)), seed=5)


async def _drive(url: str, headers: dict[str, str], trace: Trace) -> NDArray[np.float64]:
    """Each request at its time, whether or not others were answered: seconds, nan if it failed."""
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(
        base_url=url, headers=headers, timeout=60, trust_env=False, limits=limits
    ) as client:
        began = time.perf_counter()

        async def send(number: int) -> float:
            await asyncio.sleep(trace.at_s[number] - (time.perf_counter() - began))
            sent = time.perf_counter()
            path, body = _request(trace, number)
            answer = await client.post(path, json=body)
            return time.perf_counter() - sent if answer.status_code == 200 else math.nan

        return np.array(await asyncio.gather(*(send(n) for n in range(len(trace)))))


def _request(trace: Trace, number: int) -> tuple[str, dict[str, Any]]:
    """Of as many tokens as the trace says: each of these words is one."""
    route = ROUTES[trace.routes[number]]
    words = int(trace.item_tokens[number]) - _SPECIAL[route]
    texts = ["city " * max(1, words)] * int(trace.items[number])
    if route == "embed":
        return "/v1/embeddings", {"model": _MODELS[route], "input": texts}
    query = "river " * max(1, int(trace.query_tokens[number]) - 2)
    return "/v1/rerank", {"model": _MODELS[route], "query": query, "documents": texts}


async def _single(url: str, headers: dict[str, str], route: Route, times: StageTimes) -> float:
    """What a request takes beyond its engine's time, alone on the service: the median, seconds."""
    trace = _trace(route, 0.5, 60, times)
    model = times.embed if route == "embed" else times.rerank
    beyond = []
    async with httpx.AsyncClient(
        base_url=url, headers=headers, timeout=60, trust_env=False
    ) as client:
        for number in range(_SINGLE):
            path, body = _request(trace, number)
            began = time.perf_counter()
            (await client.post(path, json=body)).raise_for_status()
            took = time.perf_counter() - began
            length = int(trace.item_tokens[number]) + int(trace.query_tokens[number])
            beyond.append(took - model.seconds(np.full(_ITEMS, length, np.int32)))
    return max(0.0, statistics.median(beyond))


def _limits(route: Route) -> BatchLimits:
    name = "Embedder" if route == "embed" else "Reranker"
    deployments = load_profile("local")["applications"][0]["deployments"]
    [found] = [one for one in deployments if one["name"] == name]
    return BatchLimits.model_validate(found["user_config"])


def _predict(times: StageTimes, trace: Trace) -> Outcome:
    router = load_profile("local")["applications"][0]["args"]["router"]
    stages: dict[Stage, StageSpec] = {
        name: StageSpec(
            times=times.embed if name == "embed" else times.rerank,
            limits=_limits(name),
            calls=CallLimits.model_validate(router[f"{name}_calls"]),
            replicas=1,
        )
        for name in STAGES
    }
    spec = CellSpec(stages=stages, overhead_s=times.overhead_s)
    return simulate(spec, {name: FixedPolicy() for name in STAGES}, trace)


def _compare(
    loaded: float, trace: Trace, seen: NDArray[np.float64], predicted: Outcome
) -> Compared:
    answered = seen[~np.isnan(seen)]

    def rate(latency: NDArray[np.float64]) -> float:
        ends = (trace.at_s + latency)[~np.isnan(latency)]
        return float(len(ends) / (ends.max() - trace.at_s[0]))

    return Compared(
        route=ROUTES[trace.routes[0]],
        loaded=loaded,
        requests=len(trace),
        failed=int(np.isnan(seen).sum()),
        requests_per_s=(rate(seen), rate(predicted.latency_s)),
        p50_s=(float(np.percentile(answered, 50)), predicted.percentile_s(50)),
        p99_s=(float(np.percentile(answered, 99)), predicted.percentile_s(99)),
    )
