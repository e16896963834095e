"""A node that is to end gives its replicas to another one first, and no request fails; and what a
cluster logs comes out as JSON."""

import sys
import time
from pathlib import Path

import orjson
import psutil
import pytest

from cluster.kubernetes.drain import Raylet, drain, read_raylet, wait_for_requests
from cluster.kubernetes.logs import Follower
from loadtest.nodes.cluster import AutoscaledCluster
from tests.serve.autoscaler.test_growth import Searches

_PATIENCE_S = 120.0


@pytest.fixture
def with_rays_token(stand: AutoscaledCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a pod, where KubeRay sets it and the image's programs are on the path."""
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", stand.state.ray_token())
    monkeypatch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # as the cluster: on loopback
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=":")


def _nodes(stand: AutoscaledCluster, name: str) -> tuple[str, ...]:
    [found] = [one for one in stand.serve().application("winnow").deployments if one.name == name]
    return found.nodes


def _raylet(node_id: str) -> Raylet:
    [found] = [
        process
        for process in psutil.process_iter(["name", "cmdline"])
        if process.info["name"] == "raylet" and f"--node_id={node_id}" in process.info["cmdline"]
    ]
    return read_raylet(found)


@pytest.mark.usefixtures("with_rays_token")
def test_a_node_that_is_drained_ends_after_its_replicas_have_moved(
    stand: AutoscaledCluster,
) -> None:
    [node] = _nodes(stand, "Embedder")
    raylet = _raylet(node)
    assert raylet.node_id == node
    searches = Searches(stand)
    searches.run()
    try:
        began = time.monotonic()
        drain(raylet, within_s=_PATIENCE_S)
        assert time.monotonic() - began < _PATIENCE_S, "it ended by itself, when it had nothing"
        assert not raylet.process.is_running() or raylet.process.status() == psutil.STATUS_ZOMBIE
        assert node not in _nodes(stand, "Embedder")
    finally:
        searches.end()
    assert len(searches.statuses) > 20
    assert set(searches.statuses) == {200}


def test_requests_at_haproxy_are_waited_for(stand: AutoscaledCluster) -> None:
    admin = Path(stand.running.session_directory) / "h" / "admin.sock"
    searches = Searches(stand)
    searches.run()
    try:
        until = time.monotonic() + _PATIENCE_S
        while not searches.statuses:
            assert time.monotonic() < until
            time.sleep(0.1)
        wait_for_requests(admin, within_s=1, heard_s=0)
    finally:
        searches.end()
    began = time.monotonic()
    wait_for_requests(admin, within_s=_PATIENCE_S, heard_s=0)
    assert time.monotonic() - began < _PATIENCE_S


def test_what_a_cluster_logs_comes_out_as_json(stand: AutoscaledCluster) -> None:
    lines = [orjson.loads(line) for line in Follower(Path(stand.running.session_directory)).poll()]
    components = {line.get("component_name") for line in lines}
    assert {"controller", "replica"} <= components, components
    files = {line["file"].partition(".")[0] for line in lines if "file" in line}
    assert {"raylet", "gcs_server"} <= files, files
