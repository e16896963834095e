"""`winnow status --watch`: every replica with its state and its work, until Ctrl-C."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from cluster.commands.replica_table import ReplicaFigures, replica_table
from cluster.local.serve_api import ApplicationState, DeploymentState, ReplicaState
from cluster.local.state import State
from tests.unit.cluster.servers import Answer, Asked, Served, serving

_STATES = (
    DeploymentState(
        "Embedder",
        "UPSCALING",
        "",
        {"RUNNING": 2, "STARTING": 1},
        3,
        each=(
            ReplicaState("aaa", "RUNNING", "10.0.0.1"),
            ReplicaState("bbb", "RUNNING", "10.0.0.2"),
            ReplicaState("ccc", "STARTING", ""),
        ),
    ),
    DeploymentState(
        "Index",
        "HEALTHY",
        "",
        {"RUNNING": 1},
        1,
        each=(ReplicaState("iii", "RUNNING", "10.0.0.1"),),
    ),
    DeploymentState("Reranker", "HEALTHY", "", {}, 0),
)
_DEPLOYED = ApplicationState("RUNNING", "", list(_STATES))


def _load(replica: str, queued: float, batches: int, done: int) -> dict[str, Any]:
    return {
        "replica": replica,
        "queued_rows": 3,
        "queued_cost": queued,
        "oldest_wait_s": 0.5,
        "batches_done": batches,
        "cost_done": done,
    }


def _answer(done: int) -> dict[str, Any]:
    embed = [_load("aaa", 1_234.0, 10, done), _load("bbb", 0.0, 0, 0)]
    stages = {"embed": embed, "retrieve": [_load("iii", 7.0, 4, 2_000)]}
    return {"stages": stages, "silent": ["rerank"]}


def _rows(figures: ReplicaFigures) -> dict[str, list[str]]:
    console = Console(width=160)
    with console.capture() as seen:
        console.print(replica_table(_DEPLOYED, figures))
    lines = [line.split() for line in seen.get().splitlines()]
    return {
        line[1]: line for line in lines if line and line[0] in ("Embedder", "Index", "Reranker")
    }


def test_each_replica_has_a_row_with_its_own_figures() -> None:
    now_s = [0.0]
    figures = ReplicaFigures(lambda: now_s[0])
    figures.take(_answer(done=5_000))
    now_s[0] = 2.0
    figures.take(_answer(done=6_000))
    rows = _rows(figures)
    assert rows["aaa"][2:] == ["10.0.0.1", "running", "3", "1,234", "0.5", "500", "10", "600"]
    assert rows["bbb"][2:] == ["10.0.0.2", "running", "3", "0", "0.5", "0", "0"]
    assert rows["ccc"][2:] == ["starting"]
    assert "ms" in rows["iii"]
    assert rows["none"] == ["Reranker", "none", "of", "0"]
    assert figures.silent == ["rerank"]


def test_a_rate_needs_two_looks_at_the_same_replica() -> None:
    now_s = [0.0]
    figures = ReplicaFigures(lambda: now_s[0])
    figures.take(_answer(done=5_000))
    assert len(_rows(figures)["aaa"]) == 9
    figures.forget()
    assert _rows(figures)["aaa"][2:] == ["10.0.0.1", "running"]
    now_s[0] = 2.0
    figures.take(_answer(done=6_000))
    assert len(_rows(figures)["aaa"]) == 9, "what was done meanwhile is no rate"


def _serve_and_api(asked: Asked) -> Answer:
    if asked.path == "/v1/admin/replicas":
        return 200, _answer(done=5_000)
    replicas = [
        {"replica_id": "aaa", "state": "RUNNING", "node_ip": "10.0.0.1", "pid": 1, "node_id": "n"}
    ]
    embedder = {"name": "Embedder", "status": "HEALTHY", "message": "", "target_num_replicas": 1}
    deployments = {"Embedder": embedder | {"replicas": replicas}}
    winnow = {"status": "RUNNING", "message": "", "deployments": deployments}
    return 200, {"applications": {"winnow": winnow}}


@pytest.fixture
def served() -> Iterator[Served]:
    with serving(_serve_and_api) as served:
        yield served


def test_it_looks_again_until_ctrl_c_and_ends_cleanly(served: Served, tmp_path: Path) -> None:
    state = State(tmp_path)
    state.prepare()
    running = subprocess.Popen(
        [sys.executable, "-c", _WATCH, str(tmp_path), str(served.port)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert running.stdout is not None
    looks = 0
    for line in running.stdout:
        looks += "aaa" in line
        if looks == 2:
            break
    running.send_signal(signal.SIGINT)
    rest, errors = running.communicate(timeout=60)
    assert (running.returncode, errors) == (0, ""), rest
    assert {asked.path for asked in served.asked} >= {"/v1/admin/replicas"}


# A cluster whose head is that very process, so that no other has to live.
_WATCH = """
import os, signal, sys
from pathlib import Path
import psutil
from cluster.local.state import RunningCluster, State
# Ignored in all that a shell has started in its background.
signal.signal(signal.SIGINT, signal.default_int_handler)
state, port = State(Path(sys.argv[1])), int(sys.argv[2])
state.record(
    RunningCluster(
        cluster_id="none",
        head_pid=os.getpid(),
        profile="local",
        http_port=port,
        dashboard_port=port,
        session_directory=psutil.Process().cmdline()[0],
    )
)
os.environ["WINNOW_STATE"] = sys.argv[1]
sys.argv = ["winnow", "status", "--watch", "--every-s", "0.1"]
from cluster.__main__ import main
main()
"""
