"""The plot of an ageing run over time. The only module here that knows matplotlib."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

_ROWS = {
    "search, ms": {"search_ms": "p50"},
    "upsert, ms": {"upsert_p50_ms": "p50", "upsert_p99_ms": "p99"},
    "files": {"files": "files"},
    "MiB": {"mib": "on disk", "rss_mib": "resident memory"},
}


def plot(document: dict[str, Any], path: Path) -> None:
    """Plot latency, files, bytes and memory; lines mark the ends of the upserts and the updates."""
    figure = Figure(figsize=(9, 9), layout="constrained")
    moments = document["moments"]
    at_s = [moment["at_s"] for moment in moments]
    axes = figure.subplots(len(_ROWS), 1, sharex=True)
    for axis, (title, lines) in zip(axes, _ROWS.items(), strict=True):
        for key, label in lines.items():
            drawn = [float("nan") if one[key] is None else one[key] for one in moments]
            axis.plot(at_s, drawn, label=label)
        for ended_s in (document["written_s"], document["updated_s"]):
            axis.axvline(ended_s, color="black", linewidth=0.5)
        axis.set_ylabel(title)
        axis.set_ylim(bottom=0)
        axis.legend(fontsize=7, loc="best")
    axes[0].set_title(
        f"{document['documents']:,} single upserts, then {document['updates']:,} updates, then rest"
    )
    axes[-1].set_xlabel("s")
    figure.savefig(path)
