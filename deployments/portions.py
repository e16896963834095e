"""A request's rows, taken a few at a time, and what came of them put together again.

Knows neither why they are taken nor where they go.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from deployments.computed import Computed
from deployments.token_rows import TokenRows


class Portions:
    """Rows before `taken` are on their way or done."""

    def __init__(self, rows: TokenRows) -> None:
        self._rows = rows
        self._ends = np.cumsum(rows.lengths, dtype=np.int64)
        self._results: dict[int, Computed] = {}
        self._missing = len(rows)
        self.taken = 0

    @property
    def left(self) -> int:
        """Rows not taken yet."""
        return len(self._rows) - self.taken

    @property
    def left_tokens(self) -> int:
        return self._rows.total_tokens - self._tokens_before(self.taken)

    def fitting(self, tokens: int) -> int:
        """How many of the next rows hold together at most `tokens`."""
        until = self._tokens_before(self.taken) + tokens
        return int(np.searchsorted(self._ends, until, side="right")) - self.taken

    def take(self, count: int) -> "Portion":
        """The next `count` rows."""
        first, self.taken = self.taken, self.taken + count
        rows = self._rows.part(first, self.taken, self._tokens_before(first))
        return Portion(self, first, rows)

    def receive(self, first: int, results: Computed) -> Computed | None:
        """Results of the portion that began at row `first`; all of them if these were the last."""
        self._results[first] = results
        self._missing -= len(results)
        if self._missing:
            return None
        return Computed.concatenate([self._results[row] for row in sorted(self._results)])

    def _tokens_before(self, row: int) -> int:
        return int(self._ends[row - 1]) if row else 0


@dataclass(frozen=True, slots=True)
class Portion:
    """Some rows of a request, from its row `first` on."""

    of: Portions
    first: int
    rows: TokenRows

    def receive(self, results: Computed) -> Computed | None:
        """As `Portions.receive`."""
        return self.of.receive(self.first, results)


def hand_out(portions: Iterable[Portion], results: Computed) -> Iterable[Computed | None]:
    """What `results` of portions computed together, in their order, completes: for each portion
    its request's whole results, or None while some are missing."""
    end = 0
    for portion in portions:
        start, end = end, end + len(portion.rows)
        yield portion.receive(results.part(start, end))
