"""One search as a trace, exported to a real collector and read behind it."""

import os
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import httpx
import pytest

from loadtest.traces.collector import Collector, running_collector
from loadtest.traces.drawing import draw
from loadtest.traces.receiver import ReceivedSpan
from tests.whole.app import WholeApp

CANARY = "canary7c1e"
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED, UNSAMPLED = f"00-{TRACE}-{PARENT}-01", f"00-{TRACE[::-1]}-{PARENT}-00"
_OF_SEARCH = {
    *("POST /v1/search", "tokenize", "embed", "retrieve", "rerank"),
    *(f"{stage} {part}" for stage in ("embed", "retrieve", "rerank") for part in ("call", "queue")),
    *(f"{stage} batch" for stage in ("embed", "retrieve", "rerank")),
}


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collector]:
    with running_collector(tmp_path_factory.mktemp("collector")) as collector:
        yield collector


@pytest.fixture(scope="module", params=["http/protobuf", "grpc"])
def traced(
    request: pytest.FixtureRequest, collector: Collector, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[httpx.Client]:
    """A client of a service that is traced, with a collection of two documents."""
    grpc = request.param == "grpc"
    variables = collector.environment | {
        "OTEL_EXPORTER_OTLP_PROTOCOL": request.param,
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.grpc_endpoint if grpc else collector.endpoint,
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment=test",
    }
    with mock.patch.dict(os.environ, variables):
        whole = WholeApp(tmp_path_factory.mktemp("traced"))
    with whole.served() as url, whole.client(url, "alice") as client:
        client.put(f"/v1/collections/{CANARY}")
        documents = [{"id": f"{CANARY}{n}", "text": f"the {CANARY} number {n}"} for n in range(2)]
        client.post(f"/v1/collections/{CANARY}/documents", json={"documents": documents})
        yield client


def _search(client: httpx.Client, traceparent: str) -> httpx.Response:
    asked = {"collection": CANARY, "query": f"which {CANARY} {traceparent}?"}
    headers = {"traceparent": traceparent, "tracestate": f"vendor={CANARY}"}
    found = client.post("/v1/search", json=asked, headers=headers)
    assert found.status_code == 200, found.text
    return found


def _by_id(spans: list[ReceivedSpan]) -> dict[str, ReceivedSpan]:
    return {span.id: span for span in spans}


def test_spans_of_a_search(traced: httpx.Client, collector: Collector) -> None:
    collector.receiver.messages.clear()
    found = _search(traced, SAMPLED)
    spans = collector.receiver.wait_for(TRACE, "POST /v1/search")
    assert {span.name for span in spans} == _OF_SEARCH

    [root] = [span for span in spans if span.name == "POST /v1/search"]
    assert root.parent == PARENT
    assert found.headers["traceresponse"] == f"00-{TRACE}-{root.id}-01"
    assert root.attributes["http.route"] == "/v1/search"
    assert root.attributes["http.response.status_code"] == 200
    assert root.attributes["winnow.tenant"] == "alice"
    assert root.attributes["winnow.rerank.tokens"] == found.json()["usage"]["rerank_tokens"]
    assert root.resource["service.name"] == "winnow"
    assert root.resource["deployment.environment"] == "test"

    by_id = _by_id(spans)
    for span in spans:
        if span is root:
            continue
        parent = by_id[span.parent]
        stage, _, part = span.name.partition(" ")
        expected = {"": root.name, "call": stage}.get(part, f"{stage} call")
        assert parent.name == expected, draw(spans)
        assert parent.began_ns <= span.began_ns <= span.ended_ns <= parent.ended_ns, draw(spans)
    [batch] = [span for span in spans if span.name == "rerank batch"]
    assert batch.attributes["winnow.rows"] == 2
    assert batch.attributes["winnow.batch.rows"] >= 2
    assert batch.attributes["winnow.batch.tokens"] >= root.attributes["winnow.rerank.tokens"]


def test_no_span_holds_what_a_client_sent(traced: httpx.Client, collector: Collector) -> None:
    collector.receiver.messages.clear()
    _search(traced, SAMPLED)
    path = f"/v1/collections/{CANARY}/documents/{CANARY}0"
    traced.get(path, headers={"traceparent": SAMPLED})
    traced.get(f"/{CANARY}", headers={"traceparent": SAMPLED})
    collector.receiver.wait_for(TRACE, "GET")
    sent = b"".join(collector.receiver.messages)
    assert b"/v1/collections/{name}/documents/{id}" in sent
    assert CANARY.encode() not in sent
    assert traced.headers["authorization"].removeprefix("Bearer ").encode() not in sent


def test_a_client_that_does_not_sample_has_no_spans(
    traced: httpx.Client, collector: Collector
) -> None:
    collector.receiver.messages.clear()
    found = _search(traced, UNSAMPLED)
    assert found.headers["traceresponse"].startswith(f"00-{TRACE[::-1]}-")
    _search(traced, SAMPLED)
    collector.receiver.wait_for(TRACE, "POST /v1/search")
    assert collector.receiver.trace(TRACE[::-1]) == []


def test_spans_are_flushed_when_a_router_ends(collector: Collector, tmp_path: Path) -> None:
    collector.receiver.messages.clear()
    variables = collector.environment | {"OTEL_BSP_SCHEDULE_DELAY": "3600000"}
    with mock.patch.dict(os.environ, variables):
        whole = WholeApp(tmp_path)
    with whole.served() as url, whole.client(url, "alice") as client:
        client.get("/v1/models", headers={"traceparent": SAMPLED})
        assert collector.receiver.trace(TRACE) == []
    collector.receiver.wait_for(TRACE, "GET /v1/models")


def test_a_collector_that_is_away_fails_nothing(tmp_path: Path) -> None:
    with mock.patch.dict(os.environ, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}):
        whole = WholeApp(tmp_path)
    with whole.served() as url, whole.client(url, "alice") as client:
        for _ in range(3):
            found = client.get("/v1/models", headers={"traceparent": SAMPLED})
            assert found.status_code == 200
