"""Rows that a tokenizer made of texts, and which of them lack a part of their text.

Knows neither the texts nor the tokenizer.
"""

from dataclasses import dataclass

from deployments.rows.token_rows import TokenRows


@dataclass(frozen=True, slots=True)
class EncodedRows:
    """A row a text; `truncated` has the rows, by index and ascending, whose text was cut."""

    rows: TokenRows
    truncated: tuple[int, ...] = ()
