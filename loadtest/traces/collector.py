"""Rotel, a real OpenTelemetry collector from PyPI, before a receiver of what it passes on."""

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from cluster.local.ports import free_ports
from loadtest.traces.receiver import Receiver

_PATIENCE_S = 20.0


class Collector:
    """`environment` holds OpenTelemetry's variables for what is to export to it."""

    def __init__(self, endpoint: str, grpc_endpoint: str, receiver: Receiver) -> None:
        self.endpoint = endpoint
        self.grpc_endpoint = grpc_endpoint
        self.receiver = receiver

    @property
    def environment(self) -> dict[str, str]:
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": self.endpoint, "OTEL_BSP_SCHEDULE_DELAY": "100"}


@contextmanager
def running_collector(directory: Path) -> Iterator[Collector]:
    """Run a collector whose log is in `directory`. Raises TimeoutError if it does not start."""
    http, grpc, behind = free_ports(3)
    receiver = Receiver(behind)
    with receiver.running(), (directory / "collector.log").open("wb") as log:
        process = subprocess.Popen(
            [
                *(_program(), "start"),
                *("--otlp-http-endpoint", f"127.0.0.1:{http}"),
                *("--otlp-grpc-endpoint", f"127.0.0.1:{grpc}"),
                *("--exporter", "otlp", "--otlp-exporter-protocol", "http"),
                *("--otlp-exporter-endpoint", f"http://127.0.0.1:{behind}"),
                *("--batch-timeout", "50ms"),
                *("--pid-file", str(directory / "collector.pid")),
                *("--log-file", str(directory / "collector.out")),
            ],
            stdout=log,
            stderr=log,
        )
        try:
            for port in (http, grpc):
                _wait_for(port)
            yield Collector(f"http://127.0.0.1:{http}", f"http://127.0.0.1:{grpc}", receiver)
        finally:
            process.terminate()
            process.wait()


def _program() -> str:
    package = find_spec("rotel")
    assert package is not None
    assert package.origin is not None
    return str(Path(package.origin).parent / "rotel-agent")


def _wait_for(port: int) -> None:
    deadline_s = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline_s:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise TimeoutError("the collector did not start")
