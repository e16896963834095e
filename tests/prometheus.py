"""A real Prometheus for tests, and promtool: Debian's package, or what is on PATH."""

import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from cluster.local.ports import free_ports

_UP_S = 30.0


def program(name: str) -> str:
    """The path of `prometheus` or `promtool`; skips the test where there is none."""
    found = shutil.which(name) or _unpacked(name)
    if found is None:
        pytest.skip(f"there is no {name}: install Debian's package prometheus")
    return found


def _unpacked(name: str) -> str | None:
    """The program of Debian's package, without installing it: that would start a server."""
    apt = shutil.which("apt-get")
    if apt is None:
        return None
    directory = Path(tempfile.gettempdir()) / "winnow-prometheus"
    binary = directory / "usr" / "bin" / name
    if not binary.exists():
        directory.mkdir(exist_ok=True)
        for command in ([apt, "update", "-q"], [apt, "download", "prometheus"]):
            if subprocess.run(command, cwd=directory, capture_output=True, check=False).returncode:
                return None
        [package] = directory.glob("prometheus_*.deb")
        subprocess.run(["dpkg", "-x", str(package), str(directory)], check=True)
    return str(binary)


class Prometheus:
    """Scrapes what `targets` names, a file of Prometheus' file discovery, every second."""

    def __init__(self, directory: Path, targets: Path, rules: Path) -> None:
        [port] = free_ports(1)
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(rules / "*.yaml")],
            "scrape_configs": [
                {"job_name": "ray", "file_sd_configs": [{"files": [str(targets)]}]},
            ],
        }
        (directory / "prometheus.yaml").write_text(yaml.safe_dump(config))
        self._log = (directory / "prometheus.log").open("wb")
        self._process = subprocess.Popen(
            [
                program("prometheus"),
                f"--config.file={directory / 'prometheus.yaml'}",
                f"--storage.tsdb.path={directory / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        self._client = httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False)

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + _UP_S
        while time.monotonic() < deadline:
            try:
                if self._client.get("/-/ready").status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.1)
        raise TimeoutError("Prometheus did not start")

    def query(self, expr: str) -> list[Mapping[str, Any]]:
        """The series of an instant query. Raises AssertionError if it is refused."""
        answer = self._client.post("/api/v1/query", data={"query": expr}).json()
        assert answer["status"] == "success", (expr, answer)
        assert answer["data"]["resultType"] == "vector", (expr, json.dumps(answer)[:200])
        series: list[Mapping[str, Any]] = answer["data"]["result"]
        return series

    def rules(self) -> list[Mapping[str, Any]]:
        groups = self._client.get("/api/v1/rules").json()["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]

    def stop(self) -> None:
        self._client.close()
        self._process.terminate()
        self._process.wait(timeout=20)
        self._log.close()
