"""What is done to the cluster. A fault strikes, and then can tell whether it has been repaired."""

import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from loadtest.chaos.stand import Stand

Find = Callable[[Stand], Sequence[int]]
IsRepaired = Callable[[], bool]


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

ALL = (
    NONE,
    *(
        _signalled(f"kill -9 of one {one}", _replica(one), signal.SIGKILL)
        for one in ("Router", "Embedder", "Reranker")
    ),
    _signalled("kill -9 of the Index", _replica("Index"), signal.SIGKILL),
    _signalled("kill -9 of HAProxy", Stand.haproxy, signal.SIGKILL),
    _signalled("kill -9 of Serve's controller", Stand.controller, signal.SIGKILL),
    _signalled("SIGSTOP of one Embedder", _replica("Embedder"), signal.SIGSTOP),
    _changed("live reconfigure", Stand.reconfigure),
    _changed("rolling update of everything", Stand.new_version),
)

SHORT = tuple(
    fault
    for fault in ALL
    if fault.name in ("kill -9 of one Router", "kill -9 of one Embedder", "live reconfigure")
)
