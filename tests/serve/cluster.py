"""The one cluster of a test run, driven by the command line that users drive it with."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx

from cluster.local.ports import free_ports
from cluster.local.state import State

_TIMEOUT_S = 400
_ROOT = Path(__file__).parents[2]


class Cluster:
    """A cluster with a state directory and a port of its own; started by the first `use`."""

    def __init__(self, directory: Path) -> None:
        self.state = State(directory)
        [self._port] = free_ports(1)
        self._profile: str | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def api_key(self) -> str:
        return self.state.api_key()

    def use(self, profile: str) -> "Cluster":
        """Bring the cluster up with `profile`, unless that is what it runs."""
        if profile != self._profile:
            self.winnow("up", "--profile", profile, "--port", str(self._port))
            self._profile = profile
        return self

    def mark_stopped(self) -> None:
        """The next `use` starts it again."""
        self._profile = None

    def winnow(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run the command line to its end."""
        done = subprocess.run(
            self.command(*arguments),
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
        if check and done.returncode != 0:
            raise AssertionError(f"winnow {' '.join(arguments)}: {done.stdout}{done.stderr}")
        return done

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "cluster", *arguments]

    def environment(self) -> dict[str, str]:
        """Replicas may import what tests deploy."""
        ours = {"WINNOW_STATE": str(self.state.directory), "PYTHONPATH": str(_ROOT)}
        return os.environ | ours | {"COLUMNS": "160"}

    def client(self, api_key: str | None = None) -> httpx.Client:
        headers = {"authorization": f"Bearer {api_key or self.api_key}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=60, trust_env=False)


def post(client: httpx.Client, path: str, body: Any) -> Any:
    """The answer's JSON; fails the test on any error status."""
    response = client.post(path, json=body)
    assert response.status_code == 200, response.text
    return response.json()
