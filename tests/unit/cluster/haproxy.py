"""A node on which HAProxy runs as Serve's manager runs it."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import psutil

from cluster.haproxy import Files, serving
from cluster.local.ports import free_ports

PATIENCE_S = 20.0
_CONFIGURATION = """
global
    stats socket {socket} mode 666 level admin expose-fd listeners
defaults
    mode http
    timeout connect 1s
    timeout client 5s
    timeout server 5s
    option abortonclose
    option splice-request
    errorfile 503 {error}
frontend http_frontend
    bind 127.0.0.1:{port}
    default_backend routers
    http-request return status {status} content-type text/plain string "{answer}" if {{ path / }}
backend routers
    server router 127.0.0.1:{router}
"""


class Node:
    """A node as Serve's manager runs it: it writes a configuration and starts HAProxy with it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.files = Files(directory / "haproxy.cfg")
        [self.port] = free_ports(1)
        self.router = 1  # nobody's port

    def configure(self, status: int, answer: str) -> None:
        socket = self.directory / "admin.sock"
        self.files.configuration.write_text(
            _CONFIGURATION.format(
                socket=socket,
                port=self.port,
                status=status,
                answer=answer,
                error=self.files.error,
                router=self.router,
            )
        )

    def start(self, *reload: str) -> subprocess.Popen[bytes]:
        """Start HAProxy; return when it answers on its admin socket, as Serve does."""
        program = "from cluster.haproxy import main; main()"
        started = subprocess.Popen(
            [sys.executable, "-c", program, "-db", "-f", str(self.files.configuration), *reload]
        )
        until(lambda: serving(self.files.admin) == started.pid)
        return started

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"http://127.0.0.1:{self.port}{path}", trust_env=False)

    def answer(self) -> str | None:
        try:
            return self.get("/").text
        except httpx.TransportError:
            return None

    def watches(self) -> list[str]:
        """Return the ids of the watched processes."""
        commands = [_command(one) for one in self.processes()]
        return [one[-3] for one in commands if "cluster.haproxy" in one]

    def processes(self) -> list[psutil.Process]:
        return [
            one
            for one in psutil.process_iter()
            if one.pid != os.getpid() and str(self.directory) in " ".join(_command(one))
        ]


def _command(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []


def until(true: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline_s, "it did not happen in time"
        time.sleep(0.02)
