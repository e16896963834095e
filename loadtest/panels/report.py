"""A dashboard's panels as one plot. The only module here that knows matplotlib."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cluster.grafana.panels import Dashboard, Panel
from loadtest.panels.reading import Line, Shown
from loadtest.pictures import save_picture

_COLUMNS = 2
_DPI = 85
_UNITS = {"reqps": "requests/s", "s": "s", "percentunit": "share", "bytes": "bytes", "ops": "1/s"}


def plot(path: Path, dashboard: Dashboard, shown: Shown) -> None:
    """Write the plot of all panels as a PNG; one without data says so."""
    rows = -(-len(dashboard.panels) // _COLUMNS)
    figure = Figure(figsize=(13, 2.9 * rows), layout="constrained")
    figure.suptitle(f"Winnow / {dashboard.title}: {dashboard.note}")
    axes = figure.subplots(rows, _COLUMNS, squeeze=False).flatten()
    for place, panel in zip(axes, dashboard.panels, strict=False):
        _draw(place, panel, shown)
    for place in axes[len(dashboard.panels) :]:
        place.set_axis_off()
    drawn = BytesIO()
    figure.savefig(drawn, format="png", dpi=_DPI)
    save_picture(drawn.getvalue(), path)


def _draw(place: Axes, panel: Panel, shown: Shown) -> None:
    place.set_title(panel.title, fontsize=10)
    place.set_xlabel("s", fontsize=8)
    place.set_ylabel(_UNITS.get(panel.unit, ""), fontsize=8)
    lines = shown[panel.title]
    if not lines:
        place.text(0.5, 0.5, "no series", ha="center", transform=place.transAxes)
        place.set_xticks([])
        place.set_yticks([])
        return
    if panel.stacked:
        at_s = sorted({at for line in lines for at in line.at_s})
        place.stackplot(at_s, aligned(lines, at_s), labels=[line.name for line in lines], alpha=0.6)
    else:
        for line in lines:
            place.plot(line.at_s, line.values, label=line.name, linewidth=1.2)
    highest = place.get_ylim()[1] if any(any(line.values) for line in lines) else 1
    place.set_ylim(-0.03 * highest, 1.03 * highest)  # a line at 0, or at the top, is seen
    place.grid(alpha=0.3)
    place.legend(
        fontsize=7, loc="upper left", bbox_to_anchor=(1, 1), borderaxespad=0, frameon=False
    )


def aligned(lines: Sequence[Line], at_s: Sequence[float]) -> list[list[float]]:
    """Each line's values at all these times; 0 where it has none."""
    values = [dict(zip(line.at_s, line.values, strict=True)) for line in lines]
    return [[one.get(at, 0.0) for at in at_s] for one in values]
