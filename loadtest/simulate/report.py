"""Tables and plots of simulations. The only module here that knows matplotlib."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from rich.table import Table

from loadtest.simulate.cell import STAGES, Outcome
from loadtest.simulate.check import Comparison
from loadtest.simulate.choice import ChoiceResult
from loadtest.simulate.compare import PolicyScore

_BIN_S = 10.0
_MARKS = {
    "Winnow": "o",
    "Winnow + spares": "o-",
    "Ray default": "s",
    "KEDA queue": "^",
    "foresight": "*",
    "foresight without surges + spares": "*-",
}


def outcome_table(outcomes: Mapping[str, Outcome], cells: int) -> Table:
    names = ("scenario", "requests", "failed", "late or failed", "p50 ms", "p99 ms", "GPU-hours")
    table = Table(*names)
    for title, one in outcomes.items():
        table.add_row(
            title,
            str(len(one.trace)),
            str(one.failures()),
            f"{one.violations():.2%}",
            f"{1000 * one.percentile_s(50):.0f}",
            f"{1000 * one.percentile_s(99):.0f}",
            f"{cells * one.total_gpu_hours():.1f}",
        )
    return table


def plot_outcomes(outcomes: Mapping[str, Outcome], path: Path) -> None:
    """Plot replicas, queue and latency over time, a column for each scenario."""
    figure = Figure(figsize=(5 * len(outcomes), 9), layout="constrained")
    axes = figure.subplots(3, len(outcomes), squeeze=False)
    for column, (title, one) in enumerate(outcomes.items()):
        replicas, queue, latency = axes[:, column]
        replicas.set_title(title, fontsize=9)
        for stage in STAGES:
            moments = one.moments[stage]
            at_s = [moment.at_s for moment in moments]
            [line] = replicas.step(at_s, [m.serving for m in moments], label=f"{stage}: serving")
            replicas.step(
                at_s, [m.target for m in moments], ":", color=line.get_color(), label="asked for"
            )
            queue.plot(at_s, [m.queued_tokens for m in moments], label=stage)
        replicas.set_ylabel("replicas")
        queue.set_ylabel("tokens waiting")
        for percent in (50, 99):
            at_s, seconds = _timeline(one, percent)
            latency.plot(at_s, seconds, label=f"p{percent}")
        latency.axhline(one.slo_s, color="black", linewidth=0.5, label="objective")
        latency.set_ylabel("latency, s")
        latency.set_xlabel("s")
        for axis in (replicas, queue, latency):
            axis.legend(fontsize=7)
    figure.savefig(path, dpi=90)


def _timeline(outcome: Outcome, percent: float) -> tuple[list[float], list[float]]:
    """Percentile of the latency of answered requests, seconds, by time of arrival."""
    bins = (outcome.trace.at_s / _BIN_S).astype(int)
    kept = outcome.counts & ~np.isnan(outcome.latency_s)
    at_s, seconds = [], []
    for number in np.unique(bins[kept]):
        mine = outcome.latency_s[kept & (bins == number)]
        at_s.append(float(number * _BIN_S))
        seconds.append(float(np.percentile(mine, percent)))
    return at_s, seconds


def compared_table(compared: Sequence[Comparison]) -> Table:
    """Tabulate each figure as measured / predicted."""
    names = ("route", "load", "requests", "failed", "requests/s", "p50 ms", "p99 ms")
    table = Table(*names, title="measured / predicted")
    for one in compared:
        table.add_row(
            one.route,
            f"{one.loaded:.2f}",
            str(one.requests),
            str(one.failed),
            "{:.2f} / {:.2f}".format(*one.requests_per_s),
            "{:.0f} / {:.0f}".format(*(1000 * s for s in one.p50_s)),
            "{:.0f} / {:.0f}".format(*(1000 * s for s in one.p99_s)),
        )
    return table


def chosen_table(chosen: Sequence[ChoiceResult]) -> Table:
    names = ("load", "calls", "replica by", "small: p50 ms", "small: p99 ms", "all: p99 ms")
    table = Table(*names)
    for one in chosen:
        table.add_row(
            f"{one.load:g}",
            "packed" if one.packed else "one a request",
            one.busy_by,
            *(f"{1000 * s:.0f}" for s in (one.small_p50_s, one.small_p99_s, one.p99_s)),
        )
    return table


def totals(scored: Sequence[PolicyScore]) -> dict[tuple[str, str], tuple[float, float]]:
    """Total a policy and setting over all traces: share of requests late or failed, GPU-hours."""
    groups: dict[tuple[str, str], list[PolicyScore]] = defaultdict(list)
    for one in scored:
        groups[one.policy, one.setting].append(one)
    return {
        key: (
            sum(one.violations * one.requests for one in group)
            / sum(one.requests for one in group),
            sum(one.gpu_hours for one in group),
        )
        for key, group in groups.items()
    }


def scored_table(scored: Sequence[PolicyScore]) -> Table:
    traces = list(dict.fromkeys(one.trace for one in scored))
    table = Table("policy", "setting", "late or failed", "GPU-hours", *traces)
    for (policy, setting), (violations, gpu_hours) in totals(scored).items():
        mine = {one.trace: one for one in scored if (one.policy, one.setting) == (policy, setting)}
        each = [f"{mine[name].violations:.2%} {mine[name].gpu_hours:.1f}" for name in traces]
        table.add_row(policy, setting, f"{violations:.2%}", f"{gpu_hours:.1f}", *each)
    return table


def plot_scored(scored: Sequence[PolicyScore], path: Path) -> None:
    """Plot violations over GPU-hours, a point for each setting: lower left is better."""
    figure = Figure(figsize=(7, 5), layout="constrained")
    axis = figure.subplots()
    for policy, mark in _MARKS.items():
        points = [point for (name, _), point in totals(scored).items() if name == policy]
        if not points:
            continue
        violations, gpu_hours = zip(*points, strict=True)
        late = [100 * share for share in violations]
        axis.plot(gpu_hours, late, mark, label=policy)
    axis.set_yscale("log")
    axis.set_xlabel("GPU-hours, all traces")
    axis.set_ylabel("% of requests late or failed")
    axis.legend()
    figure.savefig(path, dpi=90)
