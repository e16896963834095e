"""Two nodes on hosts of their own; one is cut off and comes back, and then the other.

Skipped where no network namespaces may be made.
"""

import contextlib
import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from cluster.local.environment import CLUSTER_ID_VARIABLE, local_environment
from cluster.local.head import new_session_directory
from cluster.local.nodes_api import NodesApi
from cluster.local.ports import free_ports
from cluster.local.state import RunningCluster
from cluster.profile import application
from loadtest.scaled import scaled_profile
from tests.serve.cluster import Cluster
from tests.serve.cut_off.network import BRIDGE_ADDRESS, Network, NotAllowedError

_HOSTS = 2
_REQUESTS_PER_S = 4.0
# A call through the cut host that is not made on the other one too misses its deadline.
_CUT_S = 9.0
_DEADLINE_MS = 6_000
_BEFORE_S, _BETWEEN_S = 3.0, 10.0
_OBJECT_STORE = f"--object-store-memory={80 * 1024**2}"
_BODY = {"model": "all-MiniLM-L6-v2", "input": ["a cat"], "deadline_ms": _DEADLINE_MS}


@pytest.fixture
def network() -> Iterator[Network]:
    try:
        network = Network(_HOSTS)
    except NotAllowedError as refused:
        pytest.skip(str(refused))
    yield network
    network.close()


@pytest.fixture
def cluster(network: Network, tmp_path: Path) -> Iterator[Cluster]:
    """A head on the bridge with all stages but the Embedder, which has a replica on each host."""
    cluster = Cluster(tmp_path)
    cluster.state.prepare()
    file = tmp_path / "apart.yaml"
    file.write_text(yaml.safe_dump(_profile()))
    try:
        _start(cluster, network)
        yield cluster.use(str(file))
    finally:
        cluster.winnow("down")


def _profile() -> dict[str, Any]:
    profile = scaled_profile(most=1)
    app = application(profile)
    del app["autoscaling_policy"]
    for deployment in app["deployments"]:
        deployment.pop("autoscaling_config", None)
        embeds = deployment["name"] == "Embedder"
        deployment["num_replicas"] = _HOSTS if embeds else 1
        if embeds:
            deployment["max_replicas_per_node"] = 1
        role = "embed" if embeds else "head"
        deployment["ray_actor_options"] = {
            "num_cpus": 0,
            "label_selector": {"winnow/role": role},
        }
    return profile | {"applications": [app]}


def _start(cluster: Cluster, network: Network) -> None:
    """As `winnow up` would, but for what it listens on; recorded, so that `winnow` finds it."""
    state, session = cluster.state, new_session_directory()
    http = int(cluster.url.rpartition(":")[2])
    dashboard, gcs, *ports = free_ports(6, but=[http])
    cluster_id = uuid.uuid4().hex
    environment = os.environ | local_environment(
        cluster_id, str(state.ray_token_file), session, ports
    )
    environment |= {"PYTHONPATH": cluster.environment()["PYTHONPATH"]}
    del environment["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"]
    ray = [str(Path(sys.executable).parent / "ray"), "start", "--block", "--disable-usage-stats"]
    ray += ["--min-worker-port=0", "--max-worker-port=0", _OBJECT_STORE]

    def start(*command: str) -> int:
        with state.head_log.open("ab") as log:
            process = subprocess.Popen(
                command, env=environment, stdout=log, stderr=log, start_new_session=True
            )
        return process.pid

    head = start(
        *ray,
        *("--head", f"--node-ip-address={BRIDGE_ADDRESS}", f"--port={gcs}", "--num-cpus=0"),
        *(f"--dashboard-port={dashboard}", "--dashboard-host=127.0.0.1"),
        *("--labels=winnow/role=head", f"--temp-dir={session}"),
    )
    state.record(
        RunningCluster(
            cluster_id=environment[CLUSTER_ID_VARIABLE],
            head_pid=head,
            profile="local",
            http_port=http,
            dashboard_port=dashboard,
            session_directory=session,
        )
    )
    nodes = NodesApi(dashboard, state.ray_token())
    for number in range(_HOSTS):
        # One after the other: two that start at once here take each other's sockets.
        _wait_for(nodes, 1 + number)
        start(
            *network.command(number),
            *ray,
            *(f"--address={BRIDGE_ADDRESS}:{gcs}", "--num-cpus=1"),
            *(f"--node-ip-address={network.address(number)}", "--labels=winnow/role=embed"),
        )


def _wait_for(nodes: NodesApi, count: int) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        with contextlib.suppress(httpx.HTTPError):
            if len(nodes.alive()) == count:
                return
        time.sleep(0.5)
    raise AssertionError(f"{count} nodes did not start")


class Requests:
    """Sent at a steady rate, whether or not those before were answered."""

    def __init__(self, cluster: Cluster) -> None:
        self.statuses: list[int] = []
        self._cluster = cluster
        self._threads: list[threading.Thread] = []

    def run(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self._threads.append(threading.Thread(target=self._send))
            self._threads[-1].start()
            time.sleep(1 / _REQUESTS_PER_S)

    def wait(self) -> list[int]:
        for thread in self._threads:
            thread.join()
        return self.statuses

    def _send(self) -> None:
        with self._cluster.client() as client:
            self.statuses.append(client.post("/v1/embeddings", json=_BODY).status_code)


def test_requests_go_on_through_the_node_that_is_not_cut_off(
    cluster: Cluster, network: Network
) -> None:
    requests = Requests(cluster)
    requests.run(_BEFORE_S)
    for number in range(_HOSTS):  # the second cut shows that the first host is back
        network.cut(number)
        requests.run(_CUT_S)
        network.mend(number)
        requests.run(_BETWEEN_S if number == 0 else _BEFORE_S)
    statuses = requests.wait()
    assert len(statuses) > 100
    assert set(statuses) == {200}
