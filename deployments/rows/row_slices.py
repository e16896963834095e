"""Slices of a request's rows: a request is split over batches, and its results are reassembled.

Knows no queue, no batch limits and no engine.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deployments.request.deadline import Deadline
from deployments.rows.model_output import ModelOutput
from deployments.rows.token_rows import TokenRows


class PendingRows:
    """The rows of one request, of which the first `taken` are in batches or done.

    `answer` is resolved with all results, in order of the rows, when the last has arrived.
    """

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
        """The number of rows not taken yet."""
        return len(self._rows) - self.taken

    @property
    def left_tokens(self) -> int:
        """The tokens of the rows not taken yet."""
        return self._rows.total_tokens - self._tokens_before(self.taken)

    def fitting(self, tokens: int) -> int:
        """Return how many of the next rows fit into `tokens` together."""
        until = self._tokens_before(self.taken) + tokens
        return int(np.searchsorted(self._ends, until, side="right")) - self.taken

    def take(self, count: int) -> "RowSlice":
        """Take the next `count` rows."""
        first, self.taken = self.taken, self.taken + count
        rows = self._rows.part(first, self.taken, self._tokens_before(first))
        return RowSlice(self, first, rows)

    def receive(self, first: int, results: ModelOutput) -> None:
        """Add the results of the slice that begins at row `first`."""
        self._results[first] = results
        self._missing -= len(results)
        if not self._missing and not self.answer.done():
            parts = [self._results[row] for row in sorted(self._results)]
            self.answer.set_result(ModelOutput.concatenate(parts))

    def _tokens_before(self, row: int) -> int:
        return int(self._ends[row - 1]) if row else 0


@dataclass(frozen=True, slots=True)
class RowSlice:
    """Consecutive rows of a request, from its row `first` on."""

    request: PendingRows
    first: int
    rows: TokenRows


def hand_out(slices: Sequence[RowSlice], results: ModelOutput) -> None:
    """Give each request its part of a batch's results; `slices` are in the batch's order."""
    end = 0
    for rows in slices:
        start, end = end, end + len(rows.rows)
        rows.request.receive(rows.first, results.part(start, end))


def fail(slices: Sequence[RowSlice], failure: Exception) -> None:
    """Fail all requests that have rows in the batch."""
    for rows in slices:
        if not rows.request.answer.done():
            rows.request.answer.set_exception(failure)
