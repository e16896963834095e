"""What is done to the cluster. A fault strikes, and then can tell whether it has been repaired."""

import asyncio
import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import httpx
import psutil

from loadtest.chaos.stand import Stand

Find = Callable[[Stand], Sequence[int]]
IsRepaired = Callable[[], bool]

_POLL_S = 0.5


@dataclass(frozen=True, slots=True)
class Fault:
    """`strike` blocks while it does its work."""

    name: str
    strike: Callable[[Stand], IsRepaired]


def _signalled(name: str, find: Find, number: signal.Signals) -> Fault:
    """The first of the processes gets the signal; repaired when others stand in for it."""

    def strike(stand: Stand) -> IsRepaired:
        victim = find(stand)[0]
        os.kill(victim, number)

        def is_repaired() -> bool:
            found = find(stand)
            return bool(found) and victim not in found and stand.is_whole()

        return is_repaired

    return Fault(name, strike)


def _changed(name: str, change: Callable[[Stand], None]) -> Fault:
    def strike(stand: Stand) -> IsRepaired:
        change(stand)
        return stand.is_whole

    return Fault(name, strike)


def _replica(deployment: str) -> Find:
    return lambda stand: stand.replicas(deployment)


NONE = Fault("none", lambda _: lambda: True)
GCS = _signalled("kill -9 of the GCS", Stand.gcs, signal.SIGKILL)  # Ray's state is in a Redis
FEWER = _changed("one replica a stage fewer", Stand.fewer_replicas)
MORE = _changed("one replica a stage more", Stand.more_replicas)
# For the chaos runner's own cluster alone, whose stages have two replicas, and Ray a Redis.
OF_THE_DOUBLED = (GCS, FEWER, MORE)

ALL = (
    NONE,
    *(
        _signalled(f"kill -9 of one {one}", _replica(one), signal.SIGKILL)
        for one in ("Router", "Embedder", "Reranker")
    ),
    _signalled("kill -9 of the Index", _replica("Index"), signal.SIGKILL),
    _signalled("kill -9 of HAProxy", Stand.haproxy, signal.SIGKILL),
    _signalled("kill -9 of Serve's controller", Stand.controller, signal.SIGKILL),
    GCS,
    _signalled("SIGSTOP of one Router", _replica("Router"), signal.SIGSTOP),
    _signalled("SIGSTOP of one Embedder", _replica("Embedder"), signal.SIGSTOP),
    _signalled("SIGSTOP of the Index", _replica("Index"), signal.SIGSTOP),
    _changed("live reconfigure", Stand.reconfigure),
    FEWER,
    MORE,
    _changed("rolling update of everything", Stand.new_version),
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
    """When it was, by time.monotonic; None if it was not within `patience_s` of `began_s`."""
    while time.monotonic() < began_s + patience_s:
        if await asyncio.to_thread(_answers_yes, is_repaired):
            return time.monotonic()
        await asyncio.sleep(_POLL_S)
    return None


def _answers_yes(question: IsRepaired) -> bool:
    try:
        return question()
    except (httpx.HTTPError, psutil.Error, ValueError, KeyError, TypeError):
        return False  # who would know is itself being replaced
