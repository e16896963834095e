"""Two Routers on one PostgreSQL and one Redis: what one knows, both do."""

import time
from collections.abc import Callable

import httpx

from tests.redis import RedisServer
from tests.serve.cluster import Cluster, post
from tests.serve.shared.conftest import PER_MIN

_PATIENCE_S = 15.0
_EMBED = {"model": "all-MiniLM-L6-v2", "input": ["a cat"]}


def statuses(cluster: Cluster, key: str, count: int) -> list[int]:
    """Return the statuses of requests on separate connections: HAProxy spreads them on Routers."""
    found = []
    for _ in range(count):
        with cluster.client(key) as client:
            found.append(client.post("/v1/embeddings", json=_EMBED).status_code)
    return found


def eventually(holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        if holds():
            return True
        time.sleep(0.2)
    return False


def test_keys_limits_and_usage_are_shared(shared: Cluster, redis_of_package: RedisServer) -> None:
    assert "2 running of 2" in shared.winnow("status").stdout
    with shared.client() as operator:
        post(operator, "/v1/embeddings", _EMBED)  # the first of its kind is slow
    # A Router that waits half a second for Redis, as on a busy machine, keeps a share by itself.
    assert any(_has_one_limit(shared, f"limited-{number}") for number in range(3))

    key = _new_key(shared, "shared")
    redis_of_package.stop()
    told = statuses(shared, key, 2 * PER_MIN)
    assert set(told) == {200, 429}, "a share of the limit is kept by each Router"

    served = told.count(200)
    with shared.client() as operator:
        assert eventually(lambda: _requests(operator) >= served)
    shared.winnow("keys", "revoke", key.split("_")[2])
    assert eventually(lambda: _models(shared, key) == {401})


def _new_key(cluster: Cluster, tenant: str) -> str:
    cluster.winnow("tenants", "create", tenant, "--plan", "small")
    key = cluster.winnow("keys", "create", tenant).stdout.strip()
    # A key made at one Router opens at both soon after.
    assert eventually(lambda: _models(cluster, key) == {200})
    return key


def _has_one_limit(cluster: Cluster, tenant: str) -> bool:
    """Whether, as soon as one Router refuses, the other does too."""
    key = _new_key(cluster, tenant)
    refused = _use_up(cluster, key)
    assert refused.headers["x-ratelimit-limit-requests"] == str(PER_MIN)
    began = time.monotonic()
    told = statuses(cluster, key, 2 * PER_MIN)
    came_back = (time.monotonic() - began) * PER_MIN / 60 + 1
    assert set(told) <= {200, 429}
    return told.count(429) >= 2 * PER_MIN - came_back


def _models(cluster: Cluster, key: str) -> set[int]:
    """Statuses that both Routers give a key; 404 and 429 count as 200."""
    found = set()
    for _ in range(6):
        with cluster.client(key) as client:
            found.add(client.get("/v1/models/no-such-model").status_code)
    return {200 if one in (404, 429) else one for one in found}


def _use_up(cluster: Cluster, key: str) -> httpx.Response:
    for _ in range(10 * PER_MIN):
        with cluster.client(key) as client:
            answer = client.get("/v1/models")
        if answer.status_code == 429:
            return answer
    raise AssertionError("the limit was never met")


def _requests(operator: httpx.Client) -> int:
    used = operator.get("/v1/usage", params={"tenant": "shared"}).json()["usage"]
    return int(sum(one["requests"] for one in used))
