"""One run: send a trace to a service, sample its state, strike the scenario's faults.

Records what happened; judges nothing.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import httpx

from cluster.client import WinnowClient
from loadtest.chaos.faults import wait_for_repair
from loadtest.local_cluster import LocalCluster
from loadtest.run.open_loop import OpenLoop
from loadtest.run.requests import Requests
from loadtest.run.results import Results
from loadtest.run.scenario import Event
from loadtest.run.service import Service
from loadtest.traffic import Trace

_RETRY_PAUSE_S = 1.0
_SAMPLE_S = 1.0
_REPAIR_S = 120.0


@dataclass(frozen=True, slots=True)
class Sample:
    """The service at `at_s`: running replicas by deployment, and queued tokens by stage.

    The tokens are those of one replica. Replicas are counted only in a cluster started here.
    """

    at_s: float
    replicas: dict[str, int]
    queued_tokens: dict[str, int]


@dataclass(frozen=True, slots=True)
class FaultRecord:
    """A fault that struck; `repaired_s` is None if it was not repaired within two minutes."""

    fault: str
    at_s: float
    repaired_s: float | None


@dataclass(frozen=True, slots=True)
class RunRecord:
    """Everything recorded in a run. Seconds count from its start."""

    results: Results
    samples: Sequence[Sample]
    struck: Sequence[FaultRecord]


Show = Callable[[OpenLoop, Sample], None]


async def drive(
    service: Service, requests: Requests, trace: Trace, events: Sequence[Event], show: Show
) -> RunRecord:
    """Run the trace; return when every request has ended.

    `show` is called about once a second. Raises ValueError for events without a local cluster.
    """
    samples: list[Sample] = []
    async with OpenLoop(service.url, service.keys, retry_cut_after_s=_RETRY_PAUSE_S) as loop:
        start_s = time.monotonic()
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(_watch(service, start_s, loop, samples, show))
            striking = [group.create_task(_strike(service.cluster, e, start_s)) for e in events]
            await loop.run(requests.of(trace), start_s)
            watching.cancel()
    struck = [one.result() for one in striking]
    return RunRecord(Results.of(loop.outcomes, start_s), samples, struck)


async def warm_up(service: Service, requests: Requests, trace: Trace) -> None:
    async with OpenLoop(service.url, service.keys) as loop:
        await loop.run(requests.of(trace))


async def _watch(
    service: Service, start_s: float, loop: OpenLoop, samples: list[Sample], show: Show
) -> None:
    client = service.clients()[0]
    while True:
        look = asyncio.to_thread(_look, client, service.cluster)
        (replicas, queued), at_s = await look, time.monotonic() - start_s
        samples.append(Sample(at_s, replicas, queued))
        show(loop, samples[-1])
        await asyncio.sleep(_SAMPLE_S)


def _look(
    client: WinnowClient, cluster: LocalCluster | None
) -> tuple[dict[str, int], dict[str, int]]:
    stages = (client.readiness() or {"stages": {}})["stages"]
    found = {name: stage.get("queued_tokens") for name, stage in stages.items()}
    queued = {name: tokens for name, tokens in found.items() if tokens is not None}
    try:
        deployed = cluster.deployed().deployments if cluster else []
    except httpx.HTTPError:  # Serve's controller is itself being replaced
        deployed = []
    return {one.name: one.replicas.get("RUNNING", 0) for one in deployed}, queued


async def _strike(cluster: LocalCluster | None, event: Event, start_s: float) -> FaultRecord:
    if cluster is None:
        raise ValueError("faults need a cluster that was started here")
    await asyncio.sleep(start_s + event.at_s - time.monotonic())
    began_s = time.monotonic()
    is_repaired = await asyncio.to_thread(event.find().strike, cluster)
    repaired_s = await wait_for_repair(is_repaired, began_s, _REPAIR_S)
    return FaultRecord(
        event.fault, began_s - start_s, None if repaired_s is None else repaired_s - start_s
    )
