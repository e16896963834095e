"""The benchmark's results as tables, a JSON document, a page and a plot.

Knows figures by workload and server; no server and no load client.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from loadtest.bench.engine_limit import EngineRate
from loadtest.bench.rows import LatencyRow, Row
from loadtest.bench.targets import Target
from loadtest.bench.workloads import Kind
from loadtest.markdown import as_table

# A part that takes less of a row's CPU time is left out of the table.
_LEAST_SHARE = 0.02


@dataclass(frozen=True, slots=True)
class Report:
    """All that a run found. `engines` are the raw ones, by kind of request."""

    about: Mapping[str, Any]
    us: str
    engines: Mapping[Kind, Sequence[EngineRate]]
    rows: Sequence[Row]
    latencies: Sequence[LatencyRow]
    targets: Sequence[Target]

    def limit(self, kind: Kind) -> float:
        """Return the rows/s of the best raw engine; the rows of a search are its pairs."""
        of: Kind = "rerank" if kind == "search" else kind
        return max((one.rows_per_s for one in self.engines.get(of, ())), default=0.0)

    def page(self) -> str:
        """Render the tables in Markdown."""
        said = [f"{name}: {value}" for name, value in self.about.items()]
        return "\n\n".join(
            [
                "# Winnow and its peers",
                "\n".join(f"- {line}" for line in said),
                "Rows are texts, or (query, document) pairs.",
                self._throughput(),
                "## Targets",
                self._targets(),
                "## Raw engines",
                self._engines(),
                "## CPU time by process, core-milliseconds a row",
                self._cpu(),
                "## Latency at half of the highest rate",
                self._latencies(),
            ]
        )

    def write(self, output: Path) -> None:
        """Write OUTPUT.json, OUTPUT.md and OUTPUT.svg."""
        document = {
            **self.about,
            "engines": {kind: [asdict(one) for one in seen] for kind, seen in self.engines.items()},
            "rows": [asdict(one) for one in self.rows],
            "latencies": [asdict(one) for one in self.latencies],
            "targets": [asdict(one) | {"met": one.met} for one in self.targets],
        }
        output.with_suffix(".json").write_text(json.dumps(document, indent=1) + "\n")
        output.with_suffix(".md").write_text(self.page() + "\n")
        self._plot(output.with_suffix(".svg"))

    def _throughput(self) -> str:
        ours = {row.workload: row.rows_per_s for row in self.rows if row.server == self.us}
        columns = ("workload", "server", "rows/s", "p50 ms", "p99 ms", "failed")
        ratios = (f"{self.us} is", "of the best engine", "client's cores")
        return as_table([*columns, *ratios], [self._line(row, ours) for row in self.rows])

    def _line(self, row: Row, ours: Mapping[Any, float]) -> list[str]:
        own, limit = ours.get(row.workload), self.limit(row.workload.kind)
        return [
            f"{row.workload.name}, {row.workload.connections} connections",
            row.server,
            f"{row.rows_per_s:.0f}",
            f"{row.p50_ms:.0f}",
            f"{row.p99_ms:.0f}",
            str(row.failed),
            f"{own / row.rows_per_s:.2f}x" if own and row.rows_per_s else "",
            f"{row.rows_per_s / limit:.2f}" if limit else "",
            f"{row.client_cores:.2f}",
        ]

    def _targets(self) -> str:
        return as_table(
            ["target", "asked", "seen", "met"],
            [
                [
                    one.what,
                    f"{one.bound} {one.asked}",
                    f"{one.seen:.2f}",
                    "yes" if one.met else "no",
                ]
                for one in self.targets
            ],
        )

    def _engines(self) -> str:
        return as_table(
            ["kind", "processes", "threads each", "rows a batch", "rows/s"],
            [
                [kind, one.processes, one.threads, one.batch_rows, f"{one.rows_per_s:.0f}"]
                for kind, seen in self.engines.items()
                for one in seen
            ],
        )

    def _cpu(self) -> str:
        return as_table(
            ["workload", "server", "in all", "by part"],
            [
                [row.workload.name, row.server, f"{sum(row.core_ms.values()):.2f}", _parts(row)]
                for row in self.rows
            ],
        )

    def _latencies(self) -> str:
        return as_table(
            ["workload", "server", "requests/s", "p50 ms", "p99 ms", "failed"],
            [
                [
                    one.workload.name,
                    one.server,
                    f"{one.requests_per_s:.1f}",
                    f"{one.p50_ms:.0f}",
                    f"{one.p99_ms:.0f}",
                    str(one.failed),
                ]
                for one in self.latencies
            ],
        )

    def _plot(self, path: Path) -> None:
        """Plot rows/s of each server, a panel a workload; the line is the best raw engine."""
        from matplotlib.figure import Figure

        workloads = list(dict.fromkeys(row.workload for row in self.rows))
        figure = Figure(figsize=(3.2 * len(workloads), 3.4), layout="constrained")
        panels = figure.subplots(1, len(workloads), squeeze=False)[0]
        for panel, workload in zip(panels, workloads, strict=True):
            shown = [row for row in self.rows if row.workload == workload]
            colours = ["#4878a8" if row.server == self.us else "#a8b4c0" for row in shown]
            panel.bar(range(len(shown)), [row.rows_per_s for row in shown], color=colours)
            names = [row.server for row in shown]
            panel.set_xticks(range(len(shown)), names, rotation=35, ha="right")
            panel.set_title(f"{workload.kind}, {workload.rows} a request", fontsize=10)
            if limit := self.limit(workload.kind):
                panel.axhline(limit, color="#b04040", linewidth=1)
        panels[0].set_ylabel("rows/s")
        figure.savefig(path)


def _parts(row: Row) -> str:
    least = _LEAST_SHARE * sum(row.core_ms.values())
    return ", ".join(f"{part} {ms:.2f}" for part, ms in row.core_ms.items() if ms > least)
