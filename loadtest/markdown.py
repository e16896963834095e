"""Tables for Markdown files. Knows no measurement."""

from collections.abc import Iterable, Sequence
from typing import Any


def as_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """One line a row, the names of the columns over them."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)
