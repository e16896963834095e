"""Slices of a request's rows: a request is split over batches, and its results are reassembled.

Rows are token rows for an engine or searches for a store. Knows no queue and no batch limits.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from deployments.request.batch_run import BatchRun
from deployments.request.deadline import Deadline
from deployments.request.origin import Origin


class Rows(Protocol):
    """Rows of one kind; `costs` is int32 [rows], in tokens or in milliseconds of the store."""

    @property
    def costs(self) -> NDArray[np.int32]: ...

    @classmethod
    def concatenate(cls, parts: Sequence[Any]) -> Self: ...

    def __len__(self) -> int: ...

    def part(self, first: int, last: int, cost_before: int) -> Self:
        """Return the rows from `first` to `last` (exclusive); `cost_before` is of all before."""
        ...


class Results(Protocol):
    """The results of rows, in their order."""

    @classmethod
    def concatenate(cls, parts: Sequence[Any]) -> Self: ...

    def __len__(self) -> int: ...

    def part(self, first: int, last: int) -> Self:
        """Return the results of the rows from `first` to `last` (exclusive)."""
        ...

    def ran(self, run: BatchRun) -> Self:
        """Return the same results, all of this run."""
        ...


R = TypeVar("R", bound=Rows)
O = TypeVar("O", bound=Results)  # noqa: E741 # output


class PendingRows(Generic[R, O]):
    """The rows of one request, of which the first `taken` are in batches or done.

    `answer` is resolved with all results, in order of the rows, when the last has arrived.
    `came_s` is when the request came, on the clock of whoever asks for it.
    """

    def __init__(
        self,
        rows: R,
        deadline: Deadline,
        origin: Origin,
        answer: asyncio.Future[O],
        came_s: float = 0.0,
    ) -> None:
        self.came_s = came_s
        self.deadline = deadline
        self.origin = origin
        self.answer = answer
        self.taken = 0
        self._rows = rows
        self._ends = np.cumsum(rows.costs, dtype=np.int64)
        self._results: dict[int, O] = {}
        self._missing = len(rows)

    @property
    def left(self) -> int:
        """The number of rows not taken yet."""
        return len(self._rows) - self.taken

    @property
    def left_cost(self) -> int:
        """The cost of the rows not taken yet."""
        return self._cost_before(len(self._rows)) - self._cost_before(self.taken)

    def fitting(self, cost: int) -> int:
        """Return how many of the next rows fit into `cost` together."""
        until = self._cost_before(self.taken) + cost
        return int(np.searchsorted(self._ends, until, side="right")) - self.taken

    def take(self, count: int) -> "RowSlice[R, O]":
        """Take the next `count` rows."""
        first, self.taken = self.taken, self.taken + count
        before = self._cost_before(first)
        rows = self._rows.part(first, self.taken, before)
        return RowSlice(self, first, rows, self._cost_before(self.taken) - before)

    def receive(self, first: int, results: O) -> None:
        """Add the results of the slice that begins at row `first`."""
        self._results[first] = results
        self._missing -= len(results)
        if not self._missing and not self.answer.done():
            parts = [self._results[row] for row in sorted(self._results)]
            self.answer.set_result(type(results).concatenate(parts))

    def _cost_before(self, row: int) -> int:
        return int(self._ends[row - 1]) if row else 0


@dataclass(frozen=True, slots=True)
class RowSlice(Generic[R, O]):
    """Consecutive rows of a request, from its row `first` on, and their cost."""

    request: PendingRows[R, O]
    first: int
    rows: R
    cost: int


def concatenate(slices: Sequence[RowSlice[R, O]]) -> R:
    """Join the rows of all slices, in their order."""
    return type(slices[0].rows).concatenate([one.rows for one in slices])


def hand_out(
    slices: Sequence[RowSlice[R, O]],
    results: O,
    measure: Callable[[RowSlice[R, O]], BatchRun] | None = None,
) -> None:
    """Give each request its part of a batch's results; `slices` are in the batch's order.

    `measure` says how the batch was run for a slice, unless the results know it already.
    """
    end = 0
    for one in slices:
        start, end = end, end + len(one.rows)
        part = results.part(start, end)
        one.request.receive(one.first, part if measure is None else part.ran(measure(one)))


def fail(slices: Sequence[RowSlice[R, O]], failure: Exception) -> None:
    """Fail all requests that have rows in the batch."""
    for one in slices:
        if not one.request.answer.done():
            one.request.answer.set_exception(failure)
