"""Ports promised to a server are still free when it starts."""

import socket
from pathlib import Path

import pytest

from cluster.local.ports import free_ingress_ranges, free_ports, is_free


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::", 0))
    except OSError:
        return False
    return True


_IPV6 = pytest.param(
    "::", marks=pytest.mark.skipif(not _has_ipv6(), reason="IPv6 is off on this machine")
)
_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")


def test_promised_ports_are_never_handed_out_by_the_kernel() -> None:
    first_ephemeral = int(_EPHEMERAL.read_text().split()[0])
    if first_ephemeral < 32_768:
        pytest.skip(f"this machine's ephemeral ports begin at {first_ephemeral}")
    http, grpc = free_ingress_ranges()
    ports = [*free_ports(50), *http, *grpc]
    assert len(set(ports)) == len(ports)
    assert max(ports) < first_ephemeral


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", _IPV6])
def test_a_port_is_taken_whatever_address_it_is_taken_on(address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as server:
        server.bind((address, 0))
        server.listen()
        assert not is_free(server.getsockname()[1])


def test_a_port_that_is_promised_elsewhere_is_left_out() -> None:
    even = range(20_000, 30_000, 2)
    assert all(port % 2 for port in free_ports(50, but=even))
