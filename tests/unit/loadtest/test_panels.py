"""The plots of dashboards: what Prometheus answers becomes lines, and no answer is said."""

from pathlib import Path
from typing import Any, cast

from cluster.grafana.dashboards import DASHBOARDS
from loadtest.panels.reading import Line, read
from loadtest.panels.report import aligned, plot
from loadtest.prometheus_server import PrometheusServer


class _Answering:
    """Answers every query with one series, of which one value is no number."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def query_range(self, expr: str, start_s: float, end_s: float, step_s: float) -> list[Any]:
        self.asked.append(expr)
        values = [[start_s, "1"], [start_s + step_s, "NaN"], [end_s, "3"]]
        return [{"metric": {"route": "/v1/search"}, "values": values}]


def test_lines_are_named_by_the_legend_and_begin_at_the_start() -> None:
    server = _Answering()
    shown = read(DASHBOARDS[0], cast(PrometheusServer, server), 100.0, 160.0)
    assert shown["Requests by route"] == [Line("/v1/search", [0.0, 60.0], [1.0, 3.0])]
    assert shown["Answers by status"][0].name == "(none)"
    assert not any("$" in expr for expr in server.asked)


def test_a_panel_without_data_is_drawn_all_the_same(tmp_path: Path) -> None:
    shown = {panel.title: list[Line]() for panel in DASHBOARDS[0].panels}
    shown["Requests by route"] = [Line("/v1/search", [0.0, 1.0], [1.0, 2.0])]
    plot(tmp_path / "service.png", DASHBOARDS[0], shown)
    assert (tmp_path / "service.png").stat().st_size > 10_000


def test_parts_of_a_whole_are_stacked_at_the_same_times() -> None:
    lines = [Line("200", [0.0, 2.0], [1.0, 2.0]), Line("429", [2.0], [1.0])]
    assert aligned(lines, [0.0, 2.0]) == [[1.0, 2.0], [0.0, 1.0]]
