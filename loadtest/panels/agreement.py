"""One load test as the client, the dashboards, the traces and the bill have it, side by side.

The dashboards' figures come from their own queries, over the time of the test.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cluster.grafana.dashboards import DASHBOARDS
from loadtest.markdown import as_table
from loadtest.prometheus_server import PrometheusServer
from loadtest.traces.receiver import ReceivedSpan

_COLUMNS = ("", "client", "dashboards", "traces", "bill")
_SEARCH = "/v1/search"
_LIMITED = "rate_limit_exceeded"
_STAGES = ("tokenize", "embed", "retrieve", "rerank", "store")
_NONE = ""


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that was seen of a run of `lasted_s` seconds, until now, by `tenants`.

    `load` is the client's report, `spans` are of all requests in that time, `billed_tokens` those
    of the tenants' usage.
    """

    tenants: Sequence[str]
    lasted_s: float
    load: dict[str, Any]
    prometheus: PrometheusServer
    spans: Sequence[ReceivedSpan]
    billed_tokens: int


def agreement(seen: Evidence) -> str:
    """The table, in Markdown."""
    roots = [span for span in seen.spans if span.attributes.get("winnow.tenant") in seen.tenants]
    searches = [span for span in roots if span.attributes.get("http.route") == _SEARCH]
    good_ms = [_ms(span) for span in searches if span.attributes[_STATUS] == 200]
    everything = seen.load["requests"]["all"]
    errors = everything["errors"]
    rows = [
        ("requests", everything["sent"], _count(seen, ""), len(roots), _NONE),
        (
            "refused with 429",
            errors.get(_LIMITED, 0),
            _count(seen, f', outcome="{_LIMITED}"'),
            sum(span.attributes[_STATUS] == 429 for span in roots),
            _NONE,
        ),
        (
            "failed otherwise",
            sum(errors.values()) - errors.get(_LIMITED, 0),
            _count(seen, f', outcome!~"ok|{_LIMITED}"'),
            sum(span.attributes[_STATUS] not in (200, 201, 204, 429) for span in roots),
            _NONE,
        ),
        *(_latency(seen, percent, good_ms) for percent in (50, 99)),
        ("tokens served", _NONE, _tokens(seen), sum(map(_served, roots)), seen.billed_tokens),
        ("rerank's share of the stages' time", _NONE, *_shares(seen), _NONE),
    ]
    return as_table(_COLUMNS, rows)


_STATUS = "http.response.status_code"


def _latency(seen: Evidence, percent: int, good_ms: Sequence[float]) -> tuple[str, ...]:
    title = "Median latency by route" if percent == 50 else "99th percentile of latency by route"
    panel_s = _value(seen, title, route=_SEARCH)
    client = seen.load["requests"]["search"][f"p{percent}_ms"]
    traced = f"{np.percentile(good_ms, percent):.0f}"
    return (f"p{percent} of a search, ms", f"{client:.0f}", f"{1000 * panel_s:.0f}", traced, _NONE)


def _shares(seen: Evidence) -> tuple[str, str]:
    spent = dict.fromkeys(_STAGES, 0.0)
    for span in seen.spans:
        if span.name in spent:
            spent[span.name] += _ms(span)
    shown = _value(seen, "Stages' share of the time of requests", stage="rerank")
    return f"{shown:.2f}", f"{spent['rerank'] / sum(spent.values()):.2f}"


def _count(seen: Evidence, more: str) -> int:
    """Requests of the tenants, who sent none before the run."""
    who = "|".join(seen.tenants)
    return _total(seen, f'sum(ray_winnow_tenant_requests_total{{tenant=~"{who}"{more}}})')


def _tokens(seen: Evidence) -> int:
    who = "|".join(seen.tenants)
    return _total(seen, f'sum(ray_winnow_tenant_tokens_total{{tenant=~"{who}"}})')


def _total(seen: Evidence, expr: str) -> int:
    found = seen.prometheus.query(expr)
    return round(float(found[0]["value"][1])) if found else 0


def _value(seen: Evidence, title: str, **labels: str) -> float:
    """The panel's value of one series, over the whole run."""
    [panel] = [one for board in DASHBOARDS for one in board.panels if one.title == title]
    expr = panel.queries[0].expr.replace("$__rate_interval", f"{seen.lasted_s:.0f}s")
    found = [
        series
        for series in seen.prometheus.query(expr)
        if labels.items() <= series["metric"].items()
    ]
    return float(found[0]["value"][1])


def _served(root: ReceivedSpan) -> int:
    """Tokens of all stages of a request that was served."""
    if root.attributes[_STATUS] != 200:
        return 0
    named = root.attributes.items()
    return sum(value for name, value in named if re.fullmatch(r"winnow\.\w+\.tokens", name))


def _ms(span: ReceivedSpan) -> float:
    return (span.ended_ns - span.began_ns) / 1e6


def billed_tokens(usage: Iterable[dict[str, Any]]) -> int:
    """Tokens of all stages and models in an answer of GET /v1/usage."""
    return sum(one["tokens"] for one in usage)
