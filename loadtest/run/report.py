"""A run as tables, as one JSON document, and as plots drawn from that document alone.

The only module here that knows matplotlib.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from loadtest.run.drive import FaultRecord, RunRecord
from loadtest.run.results import rounded
from loadtest.run.slo import Check

_COLUMNS = ("requests", "sent", "failed", "errors", "cut, then answered", "degraded")
_PERCENTILES = ("p50 ms", "p99 ms")


def document(
    about: Mapping[str, Any],
    recorded: RunRecord,
    checks: Sequence[Check],
    disturbed_s: tuple[float, float] | None,
) -> dict[str, Any]:
    """Return the JSON document: `about`, which has the `scenario`, then the results."""
    results = recorded.results
    return {
        **about,
        "passed": all(check.passed for check in checks),
        "checks": [
            asdict(check) | {"seen": rounded(check.seen, 4), "passed": check.passed}
            for check in checks
        ],
        "client_late_ms": results.client_late_ms(),
        "requests": _groups(recorded),
        "struck": [_struck(one) for one in recorded.struck],
        "disturbed_s": disturbed_s,
        "timeline": results.timeline(),
        "samples": _samples(recorded),
    }


def write(path: Path, run: Mapping[str, Any]) -> None:
    """Write the document, one entry a line: a timeline has a few hundred figures."""
    lines = [f" {json.dumps(key)}: {json.dumps(value)}" for key, value in run.items()]
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def show(console: Console, run: Mapping[str, Any]) -> None:
    table = Table(*_COLUMNS, *_PERCENTILES)
    for name, one in run["requests"].items():
        errors = ", ".join(f"{count} {error}" for error, count in one["errors"].items())
        counts = (one["sent"], one["failed"], errors, one["cut_then_answered"], one["degraded"])
        table.add_row(
            name, *(str(count) for count in counts), _text(one["p50_ms"]), _text(one["p99_ms"])
        )
    console.print(table)
    late = run["client_late_ms"]
    console.print(f"the client itself was late by {late['p50']} ms (p50), {late['p99']} ms (p99)")
    verdict = Table("objective", "limit", "seen", "")
    for check in run["checks"]:
        sign = ">=" if check["at_least"] else "<="
        held = "holds" if check["passed"] else "[red]does not[/red]"
        seen = "nothing" if check["seen"] is None else f"{check['seen']:g}"
        verdict.add_row(check["what"], f"{sign} {check['limit']:g}", seen, held)
    console.print(verdict)


def plot(path: Path, run: Mapping[str, Any]) -> None:
    """Plot latency, rates, replicas and queues over time, with surges and faults shaded."""
    figure = Figure(figsize=(9, 9), layout="constrained")
    latency, rates, replicas, queues = figure.subplots(4, 1, sharex=True)
    timeline = run["timeline"]
    at_s = (np.arange(len(timeline["offered_per_s"])) + 0.5) * timeline["bin_s"]
    for name in ("p50_ms", "p99_ms"):
        latency.plot(at_s, _numbers(timeline[name]), label=name.removesuffix("_ms"))
    latency.set_yscale("log")
    latency.set_ylabel("latency, ms")
    for name in ("offered", "answered", "failed"):
        rates.step(at_s, timeline[f"{name}_per_s"], where="mid", label=name)
    rates.set_ylabel("requests/s")
    for axis, kind in ((replicas, "replicas"), (queues, "queued_tokens")):
        for name, values in run["samples"][kind].items():
            axis.step(run["samples"]["at_s"], _numbers(values), where="post", label=name)
    replicas.set_ylabel("replicas running")
    queues.set_ylabel("tokens waiting")
    queues.set_xlabel("s")
    for axis in (replicas, queues):
        axis.set_ylim(bottom=0)
    for axis in (latency, rates, replicas, queues):
        _mark(axis, run)
        if axis.lines:  # no replicas are counted where the service is at a URL
            axis.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1, 1))
    _name_marks(latency, run)
    figure.suptitle(run["scenario"]["about"], fontsize=10)
    figure.savefig(path)


def _mark(axis: Axes, run: Mapping[str, Any]) -> None:
    if run["disturbed_s"] and not run["struck"]:
        axis.axvspan(*run["disturbed_s"], color="grey", alpha=0.12, linewidth=0)
    for one in run["struck"]:
        axis.axvspan(one["at_s"], one["repaired_s"] or axis.get_xlim()[1], color="red", alpha=0.12)


def _name_marks(axis: Axes, run: Mapping[str, Any]) -> None:
    for one in run["struck"]:
        place = (one["at_s"], 1.02)
        axis.text(*place, one["fault"], transform=axis.get_xaxis_transform(), fontsize=7)


def _groups(recorded: RunRecord) -> dict[str, Any]:
    """Summaries of all requests, of each route, and of each tenant if there are several."""
    results = recorded.results
    groups = {"all": results.summary()}
    for route in sorted(set(results.routes.tolist())):
        groups[route] = results.where(results.routes == route).summary()
    tenants = sorted(set(results.tenants.tolist()))
    for tenant in tenants if len(tenants) > 1 else []:
        groups[f"tenant {tenant}"] = results.where(results.tenants == tenant).summary()
    return groups


def _struck(struck: FaultRecord) -> dict[str, Any]:
    repaired_s = None if struck.repaired_s is None else round(struck.repaired_s, 1)
    return {"fault": struck.fault, "at_s": round(struck.at_s, 1), "repaired_s": repaired_s}


def _samples(recorded: RunRecord) -> dict[str, Any]:
    """Samples as columns; null for what a sample lacks."""
    samples = recorded.samples

    def columns(kind: str) -> dict[str, list[int | None]]:
        names = dict.fromkeys(name for one in samples for name in getattr(one, kind))
        return {name: [getattr(one, kind).get(name) for one in samples] for name in names}

    return {
        "at_s": [round(one.at_s, 1) for one in samples],
        "replicas": columns("replicas"),
        "queued_tokens": columns("queued_tokens"),
    }


def _numbers(values: Sequence[float | None]) -> list[float]:
    return [float("nan") if value is None else value for value in values]


def _text(figure: float | None) -> str:
    return "" if figure is None else f"{figure:.0f}"
