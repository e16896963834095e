"""Counts that a Router makes of real requests, in the whole application."""

import time

import httpx
import pytest

from deployments.web.request_metrics import NO_ROUTE
from tests.unit.metrics.recorded import Recorded, recorded
from tests.whole.app import WholeApp

__all__ = ["recorded"]

# A Router hands its counts over every four seconds.
_PATIENCE_S = 20.0


def test_every_answer_is_counted_by_route_status_and_outcome(
    recorded: Recorded, whole: WholeApp, url: str
) -> None:
    with whole.client(url, "bob") as bob:
        _flush(recorded, bob)
    recorded.clear()  # drop other tests' requests
    with whole.client(url, "alice") as alice, whole.client(url, "bob") as bob:
        assert alice.put("/v1/collections/counted").status_code == 201
        documents = [{"id": str(n), "text": f"document {n}"} for n in range(5)]
        alice.post("/v1/collections/counted/documents", json={"documents": documents})
        search = {"collection": "counted", "query": "which"}
        for _ in range(3):
            assert alice.post("/v1/search", json=search).status_code == 200
        assert bob.post("/v1/search", json=search).status_code == 404
        assert bob.post("/v1/search", json={}).status_code == 400
        assert bob.get("/v1/models", headers={"authorization": "Bearer x"}).status_code == 401
        _flush(recorded, bob)

    def requests(route: str, status: str) -> float:
        return recorded.of("winnow_requests", route=route, status=status) or 0

    def outcomes(tenant: str, outcome: str) -> float:
        return recorded.of("winnow_tenant_requests", tenant=tenant, outcome=outcome) or 0

    assert requests("/v1/search", "200") == 3
    assert requests("/v1/search", "404") == 1
    assert requests("/v1/search", "400") == 1
    assert requests("/v1/models", "401") == 1
    assert requests("/v1/collections/{name}/documents", "200") == 1
    assert outcomes("alice", "ok") == 5
    assert outcomes("bob", "not_found") == 1
    assert outcomes("bob", "invalid_request") == 1
    for stage in ("tokenize", "embed", "retrieve", "rerank", "store"):
        assert recorded.of("winnow_stage_seconds_sum", stage=stage) is not None
    searches = recorded.of("winnow_stage_seconds_bucket", stage="rerank", le="+Inf")
    assert searches == pytest.approx(3)


def _flush(recorded: Recorded, client: httpx.Client) -> None:
    """Return when the Router has handed over all that it had counted."""
    assert client.get("/nowhere").status_code == 404
    until = time.monotonic() + _PATIENCE_S
    while recorded.of("winnow_requests", route=NO_ROUTE, status="404") is None:
        assert time.monotonic() < until
        time.sleep(0.05)
