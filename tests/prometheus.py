"""A real Prometheus and promtool for tests."""

import pytest

from loadtest.prometheus_server import PrometheusServer, find_program

__all__ = ["PrometheusServer", "program"]


def program(name: str) -> str:
    """The path of `prometheus` or `promtool`; skips the test where there is none."""
    found = find_program(name)
    if found is None:
        pytest.skip(f"there is no {name}: install Debian's package prometheus")
    return found
