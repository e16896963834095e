"""A request's rows, taken a few at a time, and what came of them put together again.

Knows neither why they are taken nor where they go.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deployments.request.deadline import Deadline
from deployments.rows.model_output import ModelOutput
from deployments.rows.token_rows import TokenRows


class PendingRows:
    """Rows before `taken` are on their way or done; `answer` gets all their results together."""

    def __init__(
        self, rows: TokenRows, deadline: Deadline, answer: asyncio.Future[ModelOutput]
    ) -> None:
        self.deadline = deadline
        self.answer = answer
        self.taken = 0
        self._rows = rows
        self._ends = np.cumsum(rows.lengths, dtype=np.int64)
        self._results: dict[int, ModelOutput] = {}
        self._missing = len(rows)

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

    def take(self, count: int) -> "RowSlice":
        """The next `count` rows."""
        first, self.taken = self.taken, self.taken + count
        rows = self._rows.part(first, self.taken, self._tokens_before(first))
        return RowSlice(self, first, rows)

    def receive(self, first: int, results: ModelOutput) -> None:
        """Results of the portion that began at row `first`."""
        self._results[first] = results
        self._missing -= len(results)
        if not self._missing and not self.answer.done():
            parts = [self._results[row] for row in sorted(self._results)]
            self.answer.set_result(ModelOutput.concatenate(parts))

    def _tokens_before(self, row: int) -> int:
        return int(self._ends[row - 1]) if row else 0


@dataclass(frozen=True, slots=True)
class RowSlice:
    """Some rows of a request, from its row `first` on."""

    request: PendingRows
    first: int
    rows: TokenRows


def hand_out(portions: Sequence[RowSlice], results: ModelOutput) -> None:
    """Give each its part of what was computed of them together, in their order."""
    end = 0
    for portion in portions:
        start, end = end, end + len(portion.rows)
        portion.request.receive(portion.first, results.part(start, end))


def fail(portions: Sequence[RowSlice], failure: Exception) -> None:
    """All who had a part in it hear of it."""
    for portion in portions:
        if not portion.request.answer.done():
            portion.request.answer.set_exception(failure)
