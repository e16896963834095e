"""Ports of a local cluster, chosen free, so that two clusters can stand on one machine."""

import socket
from contextlib import ExitStack

_INGRESS_PORTS = 100
_INGRESS_RANGES = range(30_000, 40_000, _INGRESS_PORTS)


def free_ports(count: int) -> list[int]:
    """Ports of the loopback interface that nothing listens on now."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As servers do: a port that only lingers in TIME_WAIT is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def free_ingress_range() -> tuple[int, int]:
    """First and last of a run of ports whose first ones are free; the Routers listen there."""
    for first in _INGRESS_RANGES:
        if all(is_free(port) for port in range(first, first + 8)):
            return first, first + _INGRESS_PORTS - 1
    raise RuntimeError("no free ports for the ingress between 30000 and 40000")
