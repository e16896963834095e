"""Tables in Markdown. Knows no measurement."""

from collections.abc import Iterable, Sequence
from typing import Any


def as_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Render a table: a header of `columns`, then one line a row."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)
