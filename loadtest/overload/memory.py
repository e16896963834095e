"""Resident memory of a local cluster's replicas, before, during and after a load."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import psutil

from loadtest.local_cluster import LocalCluster

DEPLOYMENTS = ("Router", "Embedder", "Reranker")
_PERIOD_S = 1.0


@dataclass(slots=True)
class Memory:
    """Resident MiB by deployment; `most` is the peak while watched."""

    before: dict[str, float] = field(default_factory=dict)
    most: dict[str, float] = field(default_factory=dict)
    after: dict[str, float] = field(default_factory=dict)

    def cells(self) -> list[str]:
        return [
            f"{self.before[name]:.0f}, {self.most[name]:.0f}, {self.after[name]:.0f}"
            for name in DEPLOYMENTS
        ]


@asynccontextmanager
async def watched(cluster: LocalCluster, settle_s: float) -> AsyncIterator[Memory]:
    """Watch the memory during the block; `after` is measured `settle_s` after its end."""
    pids = {name: await asyncio.to_thread(cluster.replicas, name) for name in DEPLOYMENTS}
    memory = Memory(before=_resident(pids))
    memory.most = dict(memory.before)
    watching = asyncio.create_task(_watch(pids, memory))
    try:
        yield memory
    finally:
        watching.cancel()
        await asyncio.sleep(settle_s)
        pids = {name: await asyncio.to_thread(cluster.replicas, name) for name in DEPLOYMENTS}
        memory.after = _resident(pids)


async def _watch(pids: dict[str, list[int]], memory: Memory) -> None:
    while True:
        for name, held in _resident(pids).items():
            memory.most[name] = max(memory.most[name], held)
        await asyncio.sleep(_PERIOD_S)


def _resident(pids: dict[str, list[int]]) -> dict[str, float]:
    return {name: sum(map(_mib, found)) for name, found in pids.items()}


def _mib(pid: int) -> float:
    try:
        held: Sequence[int] = psutil.Process(pid).memory_info()
    except psutil.NoSuchProcess:  # replaced meanwhile
        return 0.0
    return held[0] / 2**20
