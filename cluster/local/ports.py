"""Ports of a local cluster, chosen free, so that two clusters can stand on one machine.

All lie below 32768, where Linux's ephemeral ports begin: any process may be handed one of those
between the moment it is found free and the moment the server that was promised it binds it.
"""

import random
import socket
from collections.abc import Container

_SERVER_PORTS = range(20_000, 30_000)
_INGRESS_PORTS = 100
_INGRESS_BLOCKS = range(30_000, 32_600, 2 * _INGRESS_PORTS)


def free_ports(count: int, but: Container[int] = ()) -> list[int]:
    """Ports that nothing listens on now, none of them one of `but`."""
    ports: list[int] = []
    for port in random.sample(_SERVER_PORTS, len(_SERVER_PORTS)):
        if len(ports) == count:
            return ports
        if port not in but and is_free(port):
            ports.append(port)
    raise RuntimeError(f"not {count} free ports in {_SERVER_PORTS}")


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As servers do: a port that only lingers in TIME_WAIT is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))
        except OSError:
            return False
        return True


def free_ingress_ranges() -> tuple[range, range]:
    """Two runs of ports whose first ones are free: the Routers listen there, HTTP and gRPC."""
    for first in _INGRESS_BLOCKS:
        http = range(first, first + _INGRESS_PORTS)
        grpc = range(first + _INGRESS_PORTS, first + 2 * _INGRESS_PORTS)
        if all(is_free(port) for port in (*http[:8], *grpc[:8])):
            return http, grpc
    raise RuntimeError(f"no free ports for the ingress in {_INGRESS_BLOCKS}")
