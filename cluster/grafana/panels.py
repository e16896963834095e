"""Panels and dashboards as plain values, and the making of Grafana's JSON from them.

The only module that knows the dashboard library. A query is PromQL, with Grafana's
`$__rate_interval`.
"""

import json
from dataclasses import dataclass

from grafana_foundation_sdk.builders import common, timeseries
from grafana_foundation_sdk.builders.dashboard import Dashboard as DashboardBuilder
from grafana_foundation_sdk.builders.dashboard import DatasourceVariable
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import (
    LegendDisplayMode,
    LegendPlacement,
    StackingMode,
    TooltipDisplayMode,
)
from grafana_foundation_sdk.models.dashboard import DataSourceRef

_WIDTH, _HEIGHT = 12, 8
# A variable, so that one file serves any Grafana: the viewer chooses among its Prometheus servers.
_SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
_TAG = "winnow"


@dataclass(frozen=True, slots=True)
class Query:
    """`legend` names the series, with labels in {{braces}}."""

    expr: str
    legend: str


@dataclass(frozen=True, slots=True)
class Panel:
    """A time series. `unit` is Grafana's name of one; `stacked` for parts of a whole.

    `note` says what is shown where the title cannot.
    """

    title: str
    unit: str
    queries: tuple[Query, ...]
    note: str = ""
    stacked: bool = False


@dataclass(frozen=True, slots=True)
class Dashboard:
    """`uid` names it in Grafana for ever."""

    uid: str
    title: str
    note: str
    panels: tuple[Panel, ...]


def to_json(dashboard: Dashboard) -> str:
    """The dashboard as Grafana takes it, without the id and version that a server gives it."""
    builder = (
        DashboardBuilder(f"Winnow / {dashboard.title}")
        .uid(dashboard.uid)
        .description(dashboard.note)
        .tags([_TAG])
        .time("now-1h", "now")
        .refresh("30s")
        .timezone("browser")
        .with_variable(DatasourceVariable("datasource").label("Data source").type("prometheus"))
    )
    for number, panel in enumerate(dashboard.panels, 1):
        builder.with_panel(_time_series(panel).id(number))
    return json.dumps(builder.build(), cls=JSONEncoder, indent=2, sort_keys=True) + "\n"


def _time_series(panel: Panel) -> timeseries.Panel:
    built = (
        timeseries.Panel()
        .title(panel.title)
        .unit(panel.unit)
        .min(0)
        .span(_WIDTH)
        .height(_HEIGHT)
        .datasource(_SOURCE)
        .fill_opacity(40 if panel.stacked else 0)
        .legend(
            common.VizLegendOptions()
            .display_mode(LegendDisplayMode.LIST)
            .placement(LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI))
    )
    if panel.note:
        built.description(panel.note)
    if panel.stacked:
        built.stacking(common.StackingConfig().mode(StackingMode.NORMAL))
    for number, query in enumerate(panel.queries):
        target = Dataquery().expr(query.expr).legend_format(query.legend).range()
        built.with_target(target.ref_id(chr(ord("A") + number)).datasource(_SOURCE))
    return built
