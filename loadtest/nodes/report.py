"""A recording as a JSON document and as a plot. The only module here that knows matplotlib."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cluster.stages import MODEL_STAGES, ModelStage
from loadtest.nodes.load import REQUEST_TOKENS
from loadtest.nodes.play import Recording
from loadtest.paced import TOKENS_PER_S

_BIN_S = 4.0


def as_document(recording: Recording) -> dict[str, Any]:
    """Return the document: times in seconds from the start, traffic in bins of `bin_s` seconds."""
    zero_s = recording.steps[0].began_s
    sent = recording.sent
    return {
        "replica_tokens_per_s": TOKENS_PER_S,
        "requests": len(sent),
        "failed": sum(one.failed for one in sent),
        "steps": [
            {
                "load": dict(one.step.load),
                "nodes": dict(one.step.nodes),
                "began_s": round(one.began_s - zero_s, 1),
                "reached_s": round(one.reached_s - zero_s, 1),
                "ended_s": round(one.ended_s - zero_s, 1),
            }
            for one in recording.steps
        ],
        "bin_s": _BIN_S,
        "stages": {stage: _stage(recording, stage, zero_s) for stage in MODEL_STAGES},
    }


def _stage(recording: Recording, stage: ModelStage, zero_s: float) -> dict[str, Any]:
    mine = [one for one in recording.sent if one.route == stage]
    due_s = np.array([one.due_s for one in mine]) - zero_s
    ended_s = np.array([one.ended_s for one in mine]) - zero_s
    bins = np.arange(0, ended_s.max() + _BIN_S, _BIN_S)
    sizes = [one.sizes[stage] for one in recording.moments]
    return {
        "at_s": [round(one.at_s - zero_s, 1) for one in recording.moments],
        "nodes": [one.nodes for one in sizes],
        "replicas": [one.replicas for one in sizes],
        "asked": [one.asked for one in sizes],
        "arriving_tokens_per_s": _rate(due_s, bins),
        "answered_tokens_per_s": _rate(ended_s, bins),
        "p50_ms": _percentile_ms(due_s, ended_s, bins, 50),
        "p99_ms": _percentile_ms(due_s, ended_s, bins, 99),
    }


def _rate(at_s: NDArray[np.float64], bins: NDArray[np.float64]) -> list[float]:
    counts, _ = np.histogram(at_s, bins)
    return [round(float(count) * REQUEST_TOKENS / _BIN_S) for count in counts]


def _percentile_ms(
    due_s: NDArray[np.float64], ended_s: NDArray[np.float64], bins: NDArray[np.float64], q: float
) -> list[float | None]:
    """Percentile of the latency in each bin of due times, ms; None for a bin without a request."""
    number = np.digitize(due_s, bins) - 1
    took = [1000 * (ended_s - due_s)[number == one] for one in range(len(bins) - 1)]
    return [round(float(np.percentile(one, q))) if len(one) else None for one in took]


def plot(document: dict[str, Any], path: Path) -> None:
    """Plot tokens, sizes and latency over time, a column for each stage."""
    figure = Figure(figsize=(11, 7), layout="constrained")
    axes = figure.subplots(3, len(MODEL_STAGES), sharex=True, sharey="row")
    for column, (stage, seen) in enumerate(document["stages"].items()):
        tokens, sizes, latency = axes[:, column]
        tokens.set_title(stage)
        _draw_tokens(tokens, seen, document)
        sizes.step(seen["at_s"], seen["nodes"], where="post", label="nodes", linewidth=3, alpha=0.4)
        sizes.step(seen["at_s"], seen["replicas"], where="post", label="replicas on them")
        sizes.step(seen["at_s"], seen["asked"], ":", where="post", label="replicas asked for")
        sizes.set_yticks(range(max(seen["asked"]) + 1))
        for percent in ("p50", "p99"):
            latency.plot(_middles(seen, document), seen[f"{percent}_ms"], label=percent)
        latency.set_xlabel("s")
        for axis in (tokens, sizes, latency):
            axis.legend(fontsize=7, loc="upper right")
    for axis, title in zip(axes[:, 0], ("tokens/s", "number", "latency, ms"), strict=True):
        axis.set_ylabel(title)
        axis.set_ylim(bottom=0)
    figure.savefig(path)


def _draw_tokens(axis: Axes, seen: dict[str, Any], document: dict[str, Any]) -> None:
    at_s = _middles(seen, document)
    axis.plot(at_s, seen["arriving_tokens_per_s"], label="arriving")
    axis.plot(at_s, seen["answered_tokens_per_s"], label="answered")
    limit = document["replica_tokens_per_s"]
    axis.axhline(limit, color="black", linewidth=0.5, label="all that one replica does")


def _middles(seen: dict[str, Any], document: dict[str, Any]) -> list[float]:
    return [(n + 0.5) * document["bin_s"] for n in range(len(seen["p50_ms"]))]
