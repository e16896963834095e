"""A real Prometheus on this machine: Debian's package, or what is on PATH.

Scrapes a cluster for tests and for the plots of a load test's panels.
"""

import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import yaml
from filelock import FileLock

from cluster.local.ports import free_ports

_UP_S = 30.0

Series = Mapping[str, Any]


def find_program(name: str) -> str | None:
    """Return the path of `prometheus` or `promtool`; None if there is none to be had."""
    return shutil.which(name) or _unpacked(name)


def _unpacked(name: str) -> str | None:
    """The program of Debian's package, without installing it: that would start a server."""
    apt = shutil.which("apt-get")
    if apt is None:
        return None
    directory = Path(tempfile.gettempdir()) / "winnow-prometheus"
    with FileLock(f"{directory}.lock"):
        if not (directory / "usr").exists():
            _unpack(apt, directory)
    found = directory / "usr" / "bin" / name
    return str(found) if found.exists() else None


def _unpack(apt: str, directory: Path) -> None:
    directory.mkdir(exist_ok=True)
    for command in ([apt, "update", "-q"], [apt, "download", "prometheus"]):
        if subprocess.run(command, cwd=directory, capture_output=True, check=False).returncode:
            return
    [package] = directory.glob("prometheus_*.deb")
    subprocess.run(["dpkg", "-x", str(package), str(directory)], check=True)
    package.unlink()


class PrometheusServer:
    """Scrapes what `targets` names, a file of Prometheus' file discovery, every second."""

    def __init__(self, program: str, directory: Path, targets: Path, rules: Path) -> None:
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
                program,
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

    def query(self, expr: str) -> list[Series]:
        """The series of an instant query. Raises ValueError if it is refused."""
        return self._ask("/api/v1/query", "vector", query=expr)

    def query_range(self, expr: str, start_s: float, end_s: float, step_s: float) -> list[Series]:
        """The series of a query over a time. Raises ValueError if it is refused."""
        times = {"start": str(start_s), "end": str(end_s), "step": str(step_s)}
        return self._ask("/api/v1/query_range", "matrix", query=expr, **times)

    def _ask(self, path: str, kind: str, **given: str) -> list[Series]:
        answer = self._client.post(path, data=given).json()
        if answer["status"] != "success" or answer["data"]["resultType"] != kind:
            raise ValueError(f"{given['query']}: {str(answer)[:500]}")
        series: list[Series] = answer["data"]["result"]
        return series

    def rules(self) -> list[Series]:
        groups = self._client.get("/api/v1/rules").json()["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]

    def stop(self) -> None:
        self._client.close()
        self._process.terminate()
        self._process.wait(timeout=20)
        self._log.close()
