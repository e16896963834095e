"""On a real cluster a stage grows under load and shrinks after it, and no request fails."""

import threading
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.local.serve_api import ServeApi
from loadtest.scaled import scaled_profile
from tests.serve.cluster import Cluster

_MOST = 4
_SEARCHES_PER_S = 8.0


@pytest.fixture
def scaled(any_cluster: Cluster, tmp_path: Path) -> Cluster:
    file = tmp_path / "scaled.yaml"
    file.write_text(yaml.safe_dump(scaled_profile(_MOST)))
    return any_cluster.use(str(file))


class Searches:
    """Sent at a steady rate, whether or not those before were answered."""

    def __init__(self, cluster: Cluster) -> None:
        self.statuses: list[int] = []
        self._cluster = cluster
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def run(self) -> None:
        sender = threading.Thread(target=self._send)
        sender.start()
        self._threads.append(sender)

    def end(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=40)

    def _send(self) -> None:
        with self._cluster.client() as client:
            while not self._stop.wait(1 / _SEARCHES_PER_S):
                one = threading.Thread(target=self._search, args=(client,))
                one.start()
                self._threads.append(one)

    def _search(self, client: Any) -> None:
        body = {"collection": "any", "query": "what", "top_k": 20, "top_n": 1}
        self.statuses.append(client.post("/v1/search", json=body).status_code)


def _running(cluster: Cluster) -> dict[str, int]:
    running = cluster.state.running()
    assert running is not None
    serve = ServeApi(running.dashboard_port, cluster.state.ray_token())
    deployed = serve.application("winnow").deployments
    return {one.name: one.replicas.get("RUNNING", 0) for one in deployed}


def _wait_until(cluster: Cluster, name: str, low: int, high: int, patience_s: float) -> int:
    until = time.monotonic() + patience_s
    while True:
        replicas = _running(cluster)[name]
        if low <= replicas <= high:
            return replicas
        assert time.monotonic() < until, f"{name} has {replicas} replicas, not {low} to {high}"
        time.sleep(0.5)


def test_the_stage_under_load_grows_and_shrinks_and_no_search_fails(scaled: Cluster) -> None:
    """About 1,000 rerank tokens a search: two replicas' worth of work, and its square root."""
    assert _running(scaled) == {"Router": 1, "Embedder": 1, "Index": 1, "Reranker": 1}
    searches = Searches(scaled)
    searches.run()
    try:
        _wait_until(scaled, "Reranker", 3, _MOST, 60)
        # Its work is a hundredth: the stages scale on their own.
        assert _running(scaled)["Embedder"] == 1
    finally:
        searches.end()
    _wait_until(scaled, "Reranker", 1, 1, 45)
    assert len(searches.statuses) > 20
    assert set(searches.statuses) == {200}
