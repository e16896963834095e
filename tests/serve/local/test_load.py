"""Short load tests of the running service, by the commands that users have."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.serve.cluster import Cluster

_ROOT = Path(__file__).parents[3]
_SENT = 40
_SCENARIO = {
    "about": "A little of everything",
    "warm_up_s": 1,
    "documents": 10,
    "traffic": {
        "duration_s": 5,
        "requests_per_s": 8,
        "tenants": [{"name": "a"}, {"name": "b"}],
        "mix": [
            {"route": route, "share": 1, "items": 3, "item": {"median": 20}}
            for route in ("search", "embed", "rerank", "ingest")
        ],
    },
}


def run(
    cluster: Cluster, directory: Path, objective: dict[str, Any], *more: str
) -> subprocess.CompletedProcess[str]:
    """Writes run.json and run.svg in `directory`."""
    slo, scenario = directory / "slo.yaml", directory / "scenario.yaml"
    slo.write_text(yaml.safe_dump({"objectives": [objective]}))
    scenario.write_text(yaml.safe_dump(_SCENARIO | {"slo": str(slo)}))
    command = [sys.executable, "-m", "loadtest.run", str(scenario), "--url", cluster.url]
    command += ["--output", str(directory / "run"), *more]
    environment = cluster.environment() | {"WINNOW_API_KEY": ""}
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def test_a_run_passes_reports_and_leaves_nothing_behind(
    local: Cluster, api: httpx.Client, tmp_path: Path
) -> None:
    before = api.get("/v1/collections").json()
    objective = {"failed_share": 0, "within_ms": 30_000, "good_share": 1}
    done = run(local, tmp_path, objective, "--api-key", local.api_key)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "share failed" in done.stdout
    document = json.loads((tmp_path / "run.json").read_text())
    requests = document["requests"]
    assert requests["all"]["sent"] == pytest.approx(_SENT, rel=0.6)
    assert requests["all"]["failed"] == 0, requests["all"]["errors"]
    routes = [requests[route] for route in ("search", "embed", "rerank", "ingest")]
    assert all(one["sent"] > 0 and one["p50_ms"] > 0 for one in routes)
    assert sum(one["sent"] for one in routes) == requests["all"]["sent"]
    assert requests["tenant a"]["sent"] + requests["tenant b"]["sent"] == requests["all"]["sent"]
    assert set(document["samples"]["queued_tokens"]) == {"embed", "rerank"}
    assert (tmp_path / "run.svg").read_text().startswith("<?xml")
    assert api.get("/v1/collections").json() == before


def test_a_run_that_misses_an_objective_exits_1(local: Cluster, tmp_path: Path) -> None:
    keys = ("--api-key", f"a={local.api_key}", "--api-key", f"b={local.api_key}")
    done = run(local, tmp_path, {"route": "embed", "p50_ms": 0.01}, *keys)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "does not" in done.stdout
    assert json.loads((tmp_path / "run.json").read_text())["passed"] is False


@pytest.mark.parametrize(
    ("keys", "said"), [((), "--api-key"), (("--api-key", "wk_x"), "401")], ids=["none", "wrong"]
)
def test_a_run_without_a_key_that_opens_does_not_begin(
    local: Cluster, tmp_path: Path, keys: tuple[str, ...], said: str
) -> None:
    done = run(local, tmp_path, {"failed_share": 1}, *keys)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run.json").exists()


def test_locust_sends_the_traffic_of_a_scenario(
    local: Cluster, api: httpx.Client, tmp_path: Path
) -> None:
    scenario = tmp_path / "scenario.yaml"
    scenario.write_text(yaml.safe_dump(_SCENARIO | {"slo": "steady"}))
    before = api.get("/v1/collections").json()
    command = [sys.executable, "-m", "locust", "-f", "loadtest/locustfile.py", "--host", local.url]
    command += ["--headless", "--users", "2", "--run-time", "8s", "--json"]
    environment = local.environment() | {
        "WINNOW_API_KEY": local.api_key,
        "WINNOW_SCENARIO": str(scenario),
    }
    done = subprocess.run(
        command,
        env=environment,
        cwd=_ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = {row["name"]: row for row in json.loads(done.stdout)}
    assert {"search", "embed"} <= set(rows) <= {"search", "embed", "rerank", "ingest"}
    assert all(row["num_requests"] > 0 and row["num_failures"] == 0 for row in rows.values())
    assert api.get("/v1/collections").json() == before
