"""On a real cluster a stage grows under load and shrinks after it, and no request fails.

The first of this folder's files: it begins with one replica of each.
"""

import threading
import time
from typing import Any

import httpx

from loadtest.nodes.cluster import MOST, AutoscaledCluster

_SEARCHES_PER_S = 8.0
_PATIENCE_S = 180.0
# Longer than a node takes to start, while the one replica falls behind.
_DEADLINE_MS = 60_000


class Searches:
    """Sent at a steady rate, whether or not those before were answered."""

    def __init__(self, stand: AutoscaledCluster) -> None:
        self.statuses: list[int] = []
        self._stand = stand
        self._stop = threading.Event()
        self._sender = threading.Thread(target=self._send)

    def run(self) -> None:
        self._sender.start()

    def end(self) -> None:
        """Stop sending, and wait for the last answer."""
        self._stop.set()
        self._sender.join()

    def _send(self) -> None:
        headers = {"authorization": f"Bearer {self._stand.state.api_key()}"}
        url = self._stand.running.url
        with httpx.Client(base_url=url, headers=headers, timeout=90, trust_env=False) as client:
            sent = []
            while not self._stop.wait(1 / _SEARCHES_PER_S):
                sent.append(threading.Thread(target=self._search, args=(client,)))
                sent[-1].start()
            for one in sent:
                one.join()

    def _search(self, client: httpx.Client) -> None:
        body: dict[str, Any] = {"collection": "any", "query": "what", "top_k": 20, "top_n": 1}
        body |= {"deadline_ms": _DEADLINE_MS}
        self.statuses.append(client.post("/v1/search", json=body).status_code)


def _running(stand: AutoscaledCluster) -> dict[str, int]:
    deployed = stand.serve().application("winnow").deployments
    return {one.name: one.replicas.get("RUNNING", 0) for one in deployed}


def _wait_for(stand: AutoscaledCluster, name: str, wanted: int) -> None:
    until = time.monotonic() + _PATIENCE_S
    while (replicas := _running(stand)[name]) != wanted:
        assert time.monotonic() < until, f"{name} has {replicas} replicas, not {wanted}"
        time.sleep(0.5)


def test_the_stage_under_load_grows_and_shrinks_and_no_search_fails(
    stand: AutoscaledCluster,
) -> None:
    """About 1,000 rerank tokens a search: two replicas' worth of work, and its square root."""
    _wait_for(stand, "Reranker", 1)  # once what ran before is forgotten
    assert _running(stand) == {"Router": 1, "Embedder": 1, "Index": 1, "Reranker": 1}
    searches = Searches(stand)
    searches.run()
    try:
        _wait_for(stand, "Reranker", MOST)
        # Its work is a hundredth: the stages scale on their own.
        assert _running(stand)["Embedder"] == 1
    finally:
        searches.end()
    _wait_for(stand, "Reranker", 1)
    assert len(searches.statuses) > 20
    assert set(searches.statuses) == {200}
