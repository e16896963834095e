"""Faults for a local cluster: each strikes, and can then tell whether it has been repaired.

Knows no load: who strikes also measures what clients saw.
"""

import asyncio
import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import httpx
import psutil

from loadtest.chaos.cluster import REPLICAS
from loadtest.local_cluster import LocalCluster

Find = Callable[[LocalCluster], Sequence[int]]
IsRepaired = Callable[[], bool]

_POLL_S = 0.5


@dataclass(frozen=True, slots=True)
class Fault:
    """`strike` blocks until the fault has struck; its result tells whether it is repaired."""

    name: str
    strike: Callable[[LocalCluster], IsRepaired]


def _signalled(name: str, find: Find, number: signal.Signals) -> Fault:
    """Send a signal to the first process found; repaired when another has taken its place."""

    def strike(cluster: LocalCluster) -> IsRepaired:
        before = find(cluster)
        victim = before[0]
        os.kill(victim, number)

        def is_repaired() -> bool:
            found = find(cluster)
            return len(found) >= len(before) and victim not in found and cluster.is_whole()

        return is_repaired

    return Fault(name, strike)


def _changed(name: str, change: Callable[[LocalCluster], None]) -> Fault:
    """Deploy a change; repaired when the cluster is whole again."""

    def strike(cluster: LocalCluster) -> IsRepaired:
        change(cluster)
        return cluster.is_whole

    return Fault(name, strike)


def _resized(replicas: int) -> Callable[[LocalCluster], None]:
    def change(cluster: LocalCluster) -> None:
        cluster.resize(replicas)
        cluster.up()

    return change


def _replica(deployment: str) -> Find:
    return lambda cluster: cluster.replicas(deployment)


def _engine(deployment: str) -> Find:
    return lambda cluster: cluster.engines(deployment)


NONE = Fault("none", lambda _: lambda: True)
GCS = _signalled("kill -9 of the GCS", LocalCluster.gcs, signal.SIGKILL)
FEWER = _changed("one replica a stage fewer", _resized(REPLICAS - 1))
MORE = _changed("one replica a stage more", _resized(REPLICAS))
# They need the chaos runner's own cluster: two replicas a stage, and a Redis for Ray's state.
REPLICATED_ONLY = (GCS, FEWER, MORE)

ALL = (
    NONE,
    *(
        _signalled(f"kill -9 of one {one}", _replica(one), signal.SIGKILL)
        for one in ("Router", "Embedder", "Reranker")
    ),
    _signalled("kill -9 of an Embedder's engine", _engine("Embedder"), signal.SIGKILL),
    _signalled("kill -9 of the Index", _replica("Index"), signal.SIGKILL),
    _signalled("kill -9 of HAProxy", LocalCluster.haproxy, signal.SIGKILL),
    _signalled("kill -9 of Serve's controller", LocalCluster.controller, signal.SIGKILL),
    GCS,
    _signalled("SIGSTOP of one Router", _replica("Router"), signal.SIGSTOP),
    _signalled("SIGSTOP of one Embedder", _replica("Embedder"), signal.SIGSTOP),
    _signalled("SIGSTOP of the Index", _replica("Index"), signal.SIGSTOP),
    _changed("live reconfigure", LocalCluster.reconfigure),
    FEWER,
    MORE,
    _changed("rolling update of everything", LocalCluster.new_version),
)

SHORT = tuple(
    fault
    for fault in ALL
    if fault is GCS
    or fault.name in ("kill -9 of one Router", "kill -9 of one Embedder", "live reconfigure")
)


async def wait_for_repair(
    is_repaired: IsRepaired, began_s: float, patience_s: float
) -> float | None:
    """Return the time of the repair; None if `patience_s` have passed since `began_s` without one.

    Both times are time.monotonic's.
    """
    while time.monotonic() < began_s + patience_s:
        if await asyncio.to_thread(_answers_yes, is_repaired):
            return time.monotonic()
        await asyncio.sleep(_POLL_S)
    return None


def _answers_yes(question: IsRepaired) -> bool:
    try:
        return question()
    except (httpx.HTTPError, psutil.Error, ValueError, KeyError, TypeError):
        return False  # the process that would answer is itself being replaced
