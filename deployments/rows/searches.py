"""Searches and their answers as rows, so that they are queued and batched like token rows.

Knows no queue and no store.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from deployments.request.batch_run import BatchRun, Runs, place, runs_of_part
from deployments.stores.base import Hit, IndexSearch, SearchAnswer


@dataclass(frozen=True, slots=True)
class Searches:
    """Searches with the milliseconds that the store takes for each, `costs`, int32 [searches].

    An unknown cost is 1.
    """

    searches: tuple[IndexSearch, ...]
    costs: NDArray[np.int32]

    @classmethod
    def of(cls, searches: Sequence[IndexSearch]) -> "Searches":
        return cls(tuple(searches), np.ones(len(searches), np.int32))

    @classmethod
    def concatenate(cls, parts: Sequence["Searches"]) -> "Searches":
        if len(parts) == 1:
            return parts[0]
        costs = np.concatenate([part.costs for part in parts])
        return cls(tuple(chain.from_iterable(part.searches for part in parts)), costs)

    def __len__(self) -> int:
        return len(self.searches)

    def part(self, first: int, last: int, cost_before: int) -> "Searches":  # noqa: ARG002
        return Searches(self.searches[first:last], self.costs[first:last])


@dataclass(frozen=True, slots=True)
class SearchAnswers:
    """The answers to Searches, in their order, and the batches in which they were found."""

    answers: tuple[SearchAnswer, ...]
    runs: Runs = ()

    @classmethod
    def concatenate(cls, parts: Sequence["SearchAnswers"]) -> "SearchAnswers":
        if len(parts) == 1:
            return parts[0]
        return cls(
            tuple(chain.from_iterable(part.answers for part in parts)),
            tuple(chain.from_iterable(part.runs for part in parts)),
        )

    def __len__(self) -> int:
        return len(self.answers)

    def part(self, first: int, last: int) -> "SearchAnswers":
        return SearchAnswers(self.answers[first:last], runs_of_part(self.runs, first, last))

    def ran(self, run: BatchRun) -> "SearchAnswers":
        return SearchAnswers(self.answers, (run,))

    def placed(self, called_s: float, answered_s: float) -> "SearchAnswers":
        """Return the same answers, with their runs at their place in the Router's call."""
        if not self.runs:
            return self
        return SearchAnswers(self.answers, place(self.runs, called_s, answered_s))


@dataclass(frozen=True, slots=True)
class Retrieved:
    """The hits of one search, best first, and the batches in which they were found."""

    hits: Sequence[Hit]
    runs: Runs = ()
