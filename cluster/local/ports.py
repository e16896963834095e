"""Free ports for a local cluster, so that several clusters can run on one machine.

All are below 32768, where Linux's ephemeral ports begin: the kernel may give one of those to any
process before the server that was promised it binds it.
"""

import random
import socket
from collections.abc import Container

_SERVER_PORTS = range(20_000, 30_000)
_INGRESS_PORTS = 100
_INGRESS_BLOCKS = range(30_000, 32_600, 2 * _INGRESS_PORTS)


def free_ports(count: int, but: Container[int] = ()) -> list[int]:
    """Return `count` ports that are free now and not in `but`. Raises RuntimeError."""
    ports: list[int] = []
    for port in random.sample(_SERVER_PORTS, len(_SERVER_PORTS)):
        if len(ports) == count:
            return ports
        if port not in but and is_free(port):
            ports.append(port)
    raise RuntimeError(f"not {count} free ports in {_SERVER_PORTS}")


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As servers do: a port in TIME_WAIT is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))
        except OSError:
            return False
        return True


def free_ingress_ranges() -> tuple[range, range]:
    """Return two ranges for the Routers' HTTP and gRPC ports, of which the first eight are free.

    Raises RuntimeError.
    """
    # In any order, so that two clusters that start at the same time do not choose the same.
    for first in random.sample(_INGRESS_BLOCKS, len(_INGRESS_BLOCKS)):
        http = range(first, first + _INGRESS_PORTS)
        grpc = range(first + _INGRESS_PORTS, first + 2 * _INGRESS_PORTS)
        if all(is_free(port) for port in (*http[:8], *grpc[:8])):
            return http, grpc
    raise RuntimeError(f"no free ports for the ingress in {_INGRESS_BLOCKS}")
