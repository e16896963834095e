"""The record of a running cluster, a profile to bring it to, and a node with HAProxy."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import yaml

from cluster.local.state import RunningCluster, State
from cluster.profile import load_profile
from tests.unit.cluster.haproxy import Node


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> State:
    state = State(tmp_path / "state")
    state.prepare()
    monkeypatch.setenv("WINNOW_STATE", str(state.directory))
    return state


@pytest.fixture
def running(state: State) -> State:
    """A record of a cluster on port 8123, whose head is this very process."""
    state.record(
        RunningCluster(
            cluster_id="none",
            head_pid=os.getpid(),
            profile="local",
            http_port=8123,
            dashboard_port=8124,
            session_directory=psutil.Process().cmdline()[0],
        )
    )
    return state


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    """A profile whose models are a directory and a revision of a Hub id."""
    profile = load_profile("local")
    args = profile["applications"][0]["args"]
    args["embedder"]["engine"]["model"] = str(tmp_path)
    args["reranker"]["engine"] |= {"model": "a/b", "revision": "v2"}
    path = tmp_path / "profile.yaml"
    path.write_text(yaml.safe_dump(profile))
    return path


@pytest.fixture
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    node = Node(tmp_path_factory.mktemp("h"))
    yield node
    for _ in range(2):  # the watch of one that is killed starts another
        for process in node.processes():
            process.kill()
        time.sleep(0.1)
