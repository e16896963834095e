"""The topology of production, on this machine: several of everything, on stores that they share."""

import asyncio
import os
import signal
import time
import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

from loadtest.chaos.__main__ import measure
from loadtest.chaos.faults import Fault, IsRepaired
from loadtest.local_cluster import LocalCluster
from loadtest.production.cluster import REPLICAS, ProductionCluster
from loadtest.traffic import Route
from tests.serve.production.chart import PER_MIN

_STAGES = ("Router", "Embedder", "Index", "Reranker")
_EMBEDDER = "tiny-qwen3-embedding"
# A replica that starts takes both cores of a small machine, and two start at a time.
_RATES: dict[Route, float] = {"search": 1.5, "embed": 1.0, "rerank": 0.5, "ingest": 1.0}
# A replica that has to be started again takes half a minute, and longer on a busy machine.
_PATIENCE_S = 90.0


def _client(cluster: LocalCluster, key: str | None = None) -> httpx.Client:
    headers = {"authorization": f"Bearer {key or cluster.state.api_key()}"}
    url = cluster.running.url
    return httpx.Client(base_url=url, headers=headers, timeout=60, trust_env=False)


def _sent(
    cluster: LocalCluster, key: str | None, path: str, bodies: list[Any]
) -> list[httpx.Response]:
    """Answers to requests at the same time, each on a connection of its own: HAProxy and Serve
    hand them to all Routers, and those to all replicas."""

    def send(body: Any) -> httpx.Response:
        with _client(cluster, key) as client:
            return client.post(path, json=body) if body is not None else client.get(path)

    with ThreadPoolExecutor(8) as threads:
        return list(threads.map(send, bodies))


def _eventually(holds: Callable[[], bool]) -> bool:
    until = time.monotonic() + _PATIENCE_S
    while time.monotonic() < until:
        if holds():
            return True
        time.sleep(0.2)
    return False


def _key(cluster: ProductionCluster, plan: str) -> tuple[str, str]:
    """A new tenant and a key of its."""
    tenant = f"t-{uuid.uuid4().hex[:8]}"
    with _client(cluster) as operator:
        made = operator.post("/v1/admin/tenants", json={"id": tenant, "plan": plan})
        assert made.status_code in (200, 201), made.text
        key = operator.post("/v1/admin/keys", json={"tenant": tenant}).json()["key"]
    return tenant, key


def test_there_are_two_of_each_and_their_engines_are_processes(
    production: ProductionCluster,
) -> None:
    counts = {one.name: len(one.pids) for one in production.deployed().deployments}
    assert counts == dict.fromkeys(_STAGES, REPLICAS)
    # On a busy machine a replica may just have been replaced, and its engine is on its way.
    assert _eventually(lambda: len(production.engines("Embedder")) == REPLICAS)
    assert _eventually(lambda: len(production.engines("Reranker")) == REPLICAS)


def test_what_one_index_stores_both_find_at_once(production: ProductionCluster) -> None:
    name = f"c-{uuid.uuid4().hex[:8]}"
    path = f"/v1/collections/{name}"
    with _client(production) as client:
        assert client.put(path).status_code == 201
        query = {"collection": name, "query": "a cat", "top_k": 5, "top_n": 5}
        for version in ("first", "second"):
            documents = [{"id": str(n), "text": f"a cat, {version}, {n}"} for n in range(20)]
            stored = client.post(f"{path}/documents", json={"documents": documents})
            assert stored.status_code == 200, stored.text
            answers = _sent(production, None, "/v1/search", [query] * 24)
            assert {answer.status_code for answer in answers} == {200}
            texts = [[hit["text"] for hit in one.json()["results"]] for one in answers]
            assert all(version in text for found in texts for text in found)
            assert {len(found) for found in texts} == {5}
            assert len({tuple(found) for found in texts}) == 1, "one of them ranks otherwise"
        assert client.delete(path, headers={"x-confirm-delete": name}).is_success
        gone = _sent(production, None, "/v1/search", [query] * 12)
        assert {answer.status_code for answer in gone} == {404}


def test_a_key_opens_every_router_and_its_limit_is_one_for_all(
    production: ProductionCluster,
) -> None:
    _, key = _key(production, "small")
    models = "/v1/models/no-such-model"

    def statuses(count: int) -> Counter[int]:
        return Counter(one.status_code for one in _sent(production, key, models, [None] * count))

    assert _eventually(lambda: 401 not in statuses(4))
    began = time.monotonic()
    told = statuses(4 * PER_MIN)
    came_back = (time.monotonic() - began) * PER_MIN / 60 + 1
    assert told[404] <= PER_MIN + came_back, told
    assert set(told) == {404, 429}


def test_what_is_used_is_counted_once(production: ProductionCluster) -> None:
    tenant, key = _key(production, "operator")
    sent = 40
    assert _eventually(lambda: _models(production, key) == {404})
    bodies = [{"model": _EMBEDDER, "input": [f"text {tenant} {n}"]} for n in range(sent)]
    answers = _sent(production, key, "/v1/embeddings", bodies)
    assert {answer.status_code for answer in answers} == {200}
    tokens = sum(answer.json()["usage"]["total_tokens"] for answer in answers)

    def used() -> tuple[int, int]:
        with _client(production) as operator:
            rows = operator.get("/v1/usage", params={"tenant": tenant}).json()["usage"]
        mine = [row for row in rows if row.get("tokens")]
        return sum(row["requests"] for row in mine), sum(row["tokens"] for row in mine)

    assert _eventually(lambda: used() == (sent, tokens)), used()
    time.sleep(2)  # the second of two Routers may store it later
    assert used() == (sent, tokens)


def _models(cluster: LocalCluster, key: str) -> set[int]:
    answers = _sent(cluster, key, "/v1/models/no-such-model", [None] * 4)
    return {answer.status_code for answer in answers}


def _one_of_each(cluster: LocalCluster) -> IsRepaired:
    """Kill a replica of each stage, a second apart."""
    before = {stage: cluster.replicas(stage) for stage in _STAGES}
    for pids in before.values():
        os.kill(pids[0], signal.SIGKILL)
        time.sleep(1)

    def is_repaired() -> bool:
        found = {stage: cluster.replicas(stage) for stage in _STAGES}
        back = all(len(found[stage]) >= REPLICAS for stage in _STAGES)
        return back and all(before[stage][0] not in found[stage] for stage in _STAGES)

    return is_repaired


def test_a_replica_of_each_stage_is_killed_and_no_request_fails(
    production: ProductionCluster,
) -> None:
    fault = Fault("kill -9 of one of each", _one_of_each)
    [row] = asyncio.run(measure(production, [fault], _RATES, before_s=3))
    assert row.sent > 20
    assert (row.failed, row.refused) == (0, 0), row.problems
    assert row.repaired_s is not None
