"""A load test in the figures of client, dashboards, traces and bill, as one table."""

from typing import Any, cast

from loadtest.panels.agreement import Evidence, agreement, billed_tokens
from loadtest.prometheus_server import PrometheusServer
from loadtest.traces.receiver import ReceivedSpan

_LOAD = {
    "requests": {
        "all": {"sent": 4, "errors": {"rate_limit_exceeded": 1}},
        "search": {"p50_ms": 101.4, "p99_ms": 205.0},
    }
}


class _Answering:
    """Answers a query with a value that tells which it was."""

    def query(self, expr: str) -> list[Any]:
        assert "$" not in expr
        if "outcome!~" in expr:
            return []
        if "outcome" in expr:
            return [{"metric": {}, "value": [0, "1"]}]
        if "tenant_requests" in expr:
            return [{"metric": {}, "value": [0, "5"]}]
        if "tenant_tokens" in expr:
            return [{"metric": {}, "value": [0, "72"]}]
        labels = [{"stage": "embed"}, {"stage": "rerank"}, {"route": "/v1/search"}]
        value = "0.75" if "stage_seconds" in expr else "0.11"
        return [{"metric": one, "value": [0, value]} for one in labels]


def _span(name: str, ms: int, **attributes: Any) -> ReceivedSpan:
    return ReceivedSpan(name, "t", "1", "", 0, ms * 1_000_000, False, attributes, {})


def _request(ms: int, status: int, tenant: str = "a", tokens: int = 30) -> ReceivedSpan:
    named = {"http.route": "/v1/search", "http.response.status_code": status}
    counted = {"winnow.embed.tokens": tokens, "winnow.embed.cached_tokens": 9}
    return _span("POST /v1/search", ms, **named, **counted, **{"winnow.tenant": tenant})


def test_each_row_says_one_thing_from_all_sides() -> None:
    spans = [
        *(_request(100, 200), _request(200, 200), _request(1, 429), _request(9_999, 200, "other")),
        *(_span("embed", 20), _span("rerank", 60), _span("rerank call", 50)),
    ]
    server = cast(PrometheusServer, _Answering())
    table = agreement(Evidence(("a", "b"), 90.0, _LOAD, server, spans, 60))
    assert table.splitlines()[2:] == [
        "| requests | 4 | 5 | 3 |  |",
        "| refused with 429 | 1 | 1 | 1 |  |",
        "| failed otherwise | 0 | 0 | 0 |  |",
        "| p50 of a search, ms | 101 | 110 | 150 |  |",
        "| p99 of a search, ms | 205 | 110 | 199 |  |",
        "| tokens served |  | 72 | 60 | 60 |",
        "| rerank's share of the stages' time |  | 0.75 | 0.75 |  |",
    ]


def test_a_bill_is_the_tokens_of_all_stages() -> None:
    assert billed_tokens([{"tokens": 3, "cached_tokens": 1}, {"tokens": 4}]) == 7
