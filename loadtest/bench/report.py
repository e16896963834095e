"""The benchmark's results as a table, a JSON document and a plot.

Knows figures by workload and server; no server and no load client.
"""

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from loadtest.bench.workloads import Kind, Workload
from loadtest.bench.wrk import Measurement


@dataclass(frozen=True, slots=True)
class Row:
    """One server under one workload: the medians of its rounds."""

    workload: Workload
    server: str
    rounds: int
    rows_per_s: float
    requests_per_s: float
    p50_ms: float
    p99_ms: float
    failed: int


def median_row(workload: Workload, server: str, rounds: Sequence[Measurement]) -> Row:
    requests_per_s = statistics.median(one.requests_per_s for one in rounds)
    return Row(
        workload,
        server,
        len(rounds),
        requests_per_s * workload.rows,
        requests_per_s,
        statistics.median(one.p50_ms for one in rounds),
        statistics.median(one.p99_ms for one in rounds),
        sum(one.failed for one in rounds),
    )


def show(console: Console, rows: Sequence[Row], limits: Mapping[Kind, float], us: str) -> None:
    """Print the table, with the ratios of `us` to each server and of each server to the engine."""
    table = Table(title="medians; rows are texts or (query, document) pairs")
    for column in ("workload", "server"):
        table.add_column(column)
    for column in ("rows/s", "requests/s", "p50 ms", "p99 ms", "failed", f"{us} is", "of engine"):
        table.add_column(column, justify="right")
    ours = {row.workload: row.rows_per_s for row in rows if row.server == us}
    for row in rows:
        limit = limits.get(row.workload.kind)
        table.add_row(
            f"{row.workload.name} x{row.workload.connections}",
            row.server,
            f"{row.rows_per_s:.0f}",
            f"{row.requests_per_s:.1f}",
            f"{row.p50_ms:.0f}",
            f"{row.p99_ms:.0f}",
            str(row.failed),
            f"{ours[row.workload] / row.rows_per_s:.2f}x"
            if row.rows_per_s and row.workload in ours
            else "",
            f"{row.rows_per_s / limit:.2f}" if limit else "",
        )
    console.print(table)
    for kind, limit in limits.items():
        console.print(f"engine alone, {kind}: {limit:.0f} rows/s")


def write(
    path: Path, rows: Sequence[Row], limits: Mapping[Kind, float], about: dict[str, Any]
) -> None:
    document = about | {"engine_rows_per_s": dict(limits), "rows": [asdict(row) for row in rows]}
    path.write_text(json.dumps(document, indent=1) + "\n")


def plot(path: Path, rows: Sequence[Row], limits: Mapping[Kind, float]) -> None:
    """Plot rows/s of each server, a panel for each workload; the line is the engine alone."""
    from matplotlib.figure import Figure

    workloads = list(dict.fromkeys(row.workload for row in rows))
    figure = Figure(figsize=(3.2 * len(workloads), 3.4), layout="constrained")
    panels = figure.subplots(1, len(workloads), squeeze=False)[0]
    for panel, workload in zip(panels, workloads, strict=True):
        shown = [row for row in rows if row.workload == workload]
        panel.bar(range(len(shown)), [row.rows_per_s for row in shown], color="#4878a8")
        panel.set_xticks(range(len(shown)), [row.server for row in shown], rotation=35, ha="right")
        panel.set_title(f"{workload.kind}, {workload.rows} a request", fontsize=10)
        if workload.kind in limits:
            panel.axhline(limits[workload.kind], color="#b04040", linewidth=1)
    panels[0].set_ylabel("rows/s")
    figure.savefig(path)
