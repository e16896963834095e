"""A run as a JSON document, a table and a plot, and its figures for `winnow plan`.

The only module here that knows matplotlib. Knows steps by their records alone.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from loadtest.gpu.budget import Record
from loadtest.markdown import as_table

_COLUMNS = ("measured", "rows/s", "tokens/s", "TFLOP/s", "of the limit", "else")
_SHOWN = ("name", "rows_per_s", "tokens_per_s", "tflop_per_s", "mfu")
_NO_LIMIT = "The arithmetic limit is left out: it is not known of this device."


def document(
    about: dict[str, Any], records: Sequence[Record], derived: dict[str, Any]
) -> dict[str, Any]:
    """Return all that is known so far."""
    return about | derived | {"steps": [asdict(one) for one in records]}


def write(made: dict[str, Any], output: Path) -> None:
    """Write OUTPUT.json and OUTPUT.md."""
    output.with_suffix(".json").write_text(json.dumps(made, indent=1) + "\n")
    output.with_suffix(".md").write_text(_page(made))


def _page(made: dict[str, Any]) -> str:
    parts = [f"{key}: {value}" for key, value in made.items() if key != "steps"]
    if made["peak_tflop_per_s"] is None:
        parts.append(_NO_LIMIT)
    table = as_table(_COLUMNS, [_cells(row) for one in made["steps"] for row in one["rows"]])
    ended = [
        f"{one['step']}: {one['status']} in {one['seconds']:.0f} s"
        + (f", {one['reason'].splitlines()[0]}" if one["reason"] else "")
        for one in made["steps"]
    ]
    return "\n\n".join([*parts, table, *ended]) + "\n"


def _cells(row: dict[str, Any]) -> list[str]:
    rest = [f"{key} {_number(row[key])}" for key in row if key not in _SHOWN]
    share = row.get("mfu")
    return [
        str(row["name"]),
        *(_number(row.get(key, "")) for key in _SHOWN[1:4]),
        "" if share is None else f"{share:.0%}",
        ", ".join(rest).replace("\n", " "),
    ]


def _number(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, float):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.4g}"


def rates(made: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the rows that have tokens a second."""
    for step in made["steps"]:
        yield from (row for row in step["rows"] if "tokens_per_s" in row)


def plot(made: dict[str, Any], path: Path) -> None:
    """Plot tokens/s of every measurement, with their share of the limit where it is known."""
    from matplotlib.figure import Figure

    rows = list(rates(made))
    figure = Figure(figsize=(8, 1 + 0.32 * len(rows)), layout="constrained")
    axes = figure.subplots()
    bars = axes.barh([row["name"] for row in rows], [row["tokens_per_s"] for row in rows])
    shares = [row["mfu"] for row in rows]
    axes.bar_label(bars, ["" if one is None else f"{one:.0%}" for one in shares], padding=3)
    axes.invert_yaxis()
    axes.set_xlabel("tokens/s" + ("" if None in shares else ", and share of the limit"))
    figure.savefig(path)
