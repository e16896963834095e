"""The series that a dashboard's panels show over a time, read from Prometheus."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from cluster.grafana.panels import Dashboard, Panel
from loadtest.prometheus_server import PrometheusServer

_STEP_S = 2.0
# What Grafana takes for `$__rate_interval` is four scrapes at least; Ray exports every ten seconds.
_RATE_INTERVAL = "40s"


@dataclass(frozen=True, slots=True)
class Line:
    """A series: its name in the legend, seconds from the start, values."""

    name: str
    at_s: list[float]
    values: list[float]


Shown = dict[str, list[Line]]


def read(dashboard: Dashboard, server: PrometheusServer, start_s: float, end_s: float) -> Shown:
    """Every panel's lines by its title. `start_s` and `end_s` are seconds since 1970."""
    return {panel.title: _lines(panel, server, start_s, end_s) for panel in dashboard.panels}


def _lines(panel: Panel, server: PrometheusServer, start_s: float, end_s: float) -> list[Line]:
    lines = []
    for query in panel.queries:
        expr = query.expr.replace("$__rate_interval", _RATE_INTERVAL)
        for series in server.query_range(expr, start_s, end_s, _STEP_S):
            points = [(at - start_s, float(value)) for at, value in series["values"]]
            finite = [point for point in points if math.isfinite(point[1])]
            if finite:
                at_s, values = zip(*finite, strict=True)
                lines.append(Line(_named(query.legend, series["metric"]), [*at_s], [*values]))
    return lines


def _named(legend: str, labels: Mapping[str, str]) -> str:
    return re.sub(r"{{(\w+)}}", lambda found: labels.get(found[1], "") or "(none)", legend)
