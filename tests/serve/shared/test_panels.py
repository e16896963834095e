"""Every panel, alert and recording rule on a real Prometheus that scrapes a real cluster."""

import json
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from cluster.grafana.dashboards import DASHBOARDS
from cluster.grafana.rule_files import RULES, recordings
from cluster.grafana.rule_files import alerts as all_alerts
from tests.prometheus import PrometheusServer, program
from tests.redis import RedisServer
from tests.serve.cluster import Cluster, post
from tests.serve.shared.conftest import PER_MIN

# Ray exports every ten seconds and a rate needs two samples; this is for a machine that is busy.
_PATIENCE_S = 90.0
_WINDOW = "1m"

# Panels without data on this cluster, and the reason.
_EMPTY = {
    "GPU memory in use": "this machine has no GPU",
    "GPU utilization": "this machine has no GPU",
    "GPUs": "Ray names a resource that it has, and this machine has no GPU",
}


class Load:
    """Searches and embeddings of two tenants, one of which is over its limit."""

    def __init__(self, shared: Cluster, collection: str, key: str) -> None:
        self._cluster, self._collection, self._key = shared, collection, key

    def send(self) -> None:
        with self._cluster.client() as client, self._cluster.client(self._key) as limited:
            for number in range(5):
                search = {"collection": self._collection, "query": f"question {number}"}
                post(client, "/v1/search", search | {"top_k": 20, "top_n": 3})
                post(client, "/v1/embeddings", {"input": ["the same again", f"text {number}"]})
                limited.post("/v1/embeddings", json={"input": "a cat"})


@pytest.fixture
def limited_key(shared: Cluster) -> str:
    shared.winnow("tenants", "create", "panels", "--plan", "small")
    return shared.winnow("keys", "create", "panels").stdout.strip()


@pytest.fixture
def prometheus(shared: Cluster, tmp_path: Path) -> Iterator[PrometheusServer]:
    running = shared.state.running()
    assert running is not None
    targets = Path(running.session_directory, "prom_metrics_service_discovery.json")
    server = PrometheusServer(program("prometheus"), tmp_path, targets, RULES)
    try:
        server.wait_until_ready()
        yield server
    finally:
        server.stop()


def _queries() -> dict[str, str]:
    """Every query of every panel, by where it stands."""
    return {
        f"{board.title} / {panel.title} / {number}": query.expr.replace("$__rate_interval", _WINDOW)
        for board in DASHBOARDS
        for panel in board.panels
        for number, query in enumerate(panel.queries)
    } | {f"recording / {rule['record']}": rule["expr"] for rule in recordings()}


def _may_be_empty(place: str) -> bool:
    return any(f"/ {title} /" in place for title in _EMPTY)


def _until(holds: Callable[[], Any], work: Callable[[], None]) -> None:
    """Work until there is nothing left that `holds` names."""
    until = time.monotonic() + _PATIENCE_S
    while missing := holds():
        assert time.monotonic() < until, json.dumps(missing, indent=2)
        work()


def test_every_query_has_data_of_its_shape(
    shared: Cluster,
    collection: str,
    limited_key: str,
    prometheus: PrometheusServer,
    redis_of_package: RedisServer,
    api: httpx.Client,
) -> None:
    documents = [{"id": str(n), "text": f"document {n} of a few words"} for n in range(50)]
    post(api, f"/v1/collections/{collection}/documents", {"documents": documents})
    load = Load(shared, collection, limited_key)
    for _ in range(PER_MIN // 5 + 1):
        load.send()
    redis_of_package.stop()
    queries = _queries()

    def missing() -> dict[str, str]:
        with ThreadPoolExecutor(4) as pool:
            found = pool.map(prometheus.query, queries.values())
        return {
            place: expr
            for (place, expr), series in zip(queries.items(), found, strict=True)
            if not _may_be_empty(place) and not any(_is_number(one) for one in series)
        }

    _until(missing, load.send)
    _check_shapes(prometheus)
    # Failures are a rate, which is 0 until Ray has exported a second failure.
    _until(lambda: _inactive("WinnowQuotaStoreGone", prometheus), load.send)
    _check_rules(prometheus)


def _is_number(series: Any) -> bool:
    return bool(series["value"][1] != "NaN")


def _check_shapes(prometheus: PrometheusServer) -> None:
    """Each series has the labels that its legend shows, shares are within 0 and 1, and parts of a
    whole add up to it."""
    for board in DASHBOARDS:
        for panel in board.panels:
            for query in panel.queries:
                series = prometheus.query(query.expr.replace("$__rate_interval", _WINDOW))
                labels = set(re.findall(r"{{(\w+)}}", query.legend))
                # A share of nothing, such as of a route that nobody calls now, is no number.
                for one in filter(_is_number, series):
                    assert labels <= one["metric"].keys(), (panel.title, one)
                    value = float(one["value"][1])
                    share = panel.unit == "percentunit" and "limit" not in panel.title
                    assert value >= 0, (panel.title, one)
                    assert value <= (1.001 if share else float("inf")), (panel.title, one)
    [service, pipeline, *_] = DASHBOARDS
    assert service.title == "Service"
    [shares, *_] = pipeline.panels
    parts = prometheus.query(shares.queries[0].expr.replace("$__rate_interval", _WINDOW))
    assert {one["metric"]["stage"] for one in parts} >= {"tokenize", "embed", "retrieve", "rerank"}
    assert sum(float(one["value"][1]) for one in parts) == pytest.approx(1)


def _inactive(alert: str, prometheus: PrometheusServer) -> list[str]:
    """The alert, if it is neither pending nor firing."""
    states = _alert_states(prometheus)
    return [alert] if states[alert] == "inactive" else []


def _alert_states(prometheus: PrometheusServer) -> dict[str, str]:
    rules = prometheus.rules()
    return {rule["name"]: rule["state"] for rule in rules if rule["type"] == "alerting"}


def _check_rules(prometheus: PrometheusServer) -> None:
    """Prometheus evaluates all rules without an error, and none says that a canary failed."""
    rules = prometheus.rules()
    assert {rule["health"] for rule in rules} == {"ok"}
    names = [rule["name"] for rule in rules]
    assert sorted(names) == sorted(
        [one["alert"] for one in all_alerts()] + [one["record"] for one in recordings()]
    )
    assert _alert_states(prometheus)["WinnowCanaryFailed"] == "inactive"
