"""Rows of token ids of unequal lengths, packed into two arrays to travel between replicas.

Knows neither the texts they came from nor the model that reads them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class TokenRows:
    """Packed rows: `ids` is int32 [total_tokens], `lengths` is int32 [rows].

    `segments` is int32 [rows], the start of each row's second segment (BERT's token type 1), or
    None. `owners` is the tenant of each row, or empty where that does not matter.
    """

    ids: NDArray[np.int32]
    lengths: NDArray[np.int32]
    segments: NDArray[np.int32] | None = None
    owners: tuple[str, ...] = ()

    @classmethod
    def pack(
        cls, rows: Sequence[Sequence[int]], segments: Sequence[int] | None = None
    ) -> "TokenRows":
        lengths = np.fromiter(map(len, rows), np.int32, len(rows))
        ids = np.fromiter(chain.from_iterable(rows), np.int32, int(lengths.sum()))
        starts = None if segments is None else np.asarray(segments, np.int32)
        return cls(ids, lengths, starts)

    @classmethod
    def between(
        cls,
        head: Sequence[int],
        bodies: Sequence[NDArray[np.int32]],
        tail: Sequence[int],
        segments: Sequence[int] | None = None,
    ) -> "TokenRows":
        """Pack one row for each body: head + body + tail."""
        first, last = np.asarray(head, np.int32), np.asarray(tail, np.int32)
        lengths = np.fromiter(map(len, bodies), np.int32, len(bodies)) + len(head) + len(tail)
        pieces = [piece for body in bodies for piece in (first, body, last)]
        ids = np.concatenate(pieces) if pieces else np.empty(0, np.int32)
        starts = None if segments is None else np.asarray(segments, np.int32)
        return cls(ids, lengths.astype(np.int32), starts)

    @classmethod
    def concatenate(cls, parts: Sequence["TokenRows"]) -> "TokenRows":
        """Join the rows of all parts; all of them have segments and owners, or none."""
        if len(parts) == 1:
            return parts[0]
        starts = [part.segments for part in parts if part.segments is not None]
        return cls(
            np.concatenate([part.ids for part in parts]),
            np.concatenate([part.lengths for part in parts]),
            np.concatenate(starts) if len(starts) == len(parts) else None,
            tuple(chain.from_iterable(part.owners for part in parts)),
        )

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def total_tokens(self) -> int:
        return len(self.ids)

    @property
    def costs(self) -> NDArray[np.int32]:
        """Tokens of each row, int32 [rows]."""
        return self.lengths

    def __iter__(self) -> Iterator[list[int]]:
        end = 0
        for length in self.lengths.tolist():
            start, end = end, end + length
            yield self.ids[start:end].tolist()

    def part(self, first: int, last: int, cost_before: int) -> "TokenRows":
        """Return the rows from `first` to `last` (exclusive), after `cost_before` tokens."""
        lengths = self.lengths[first:last]
        return TokenRows(
            self.ids[cost_before : cost_before + int(lengths.sum())],
            lengths,
            None if self.segments is None else self.segments[first:last],
            self.owners[first:last],
        )

    def halves(self) -> tuple["TokenRows", "TokenRows"]:
        """Split two rows or more."""
        middle = len(self) // 2
        cost = int(self.lengths[:middle].sum())
        return self.part(0, middle, 0), self.part(middle, len(self), cost)

    def select(self, rows: Sequence[int]) -> "TokenRows":
        """Return the rows with these indices, in their order."""
        ends = np.cumsum(self.lengths, dtype=np.int64)
        parts = [self.part(row, row + 1, int(ends[row] - self.lengths[row])) for row in rows]
        return TokenRows.concatenate(parts)

    def owned_by(self, owner: str) -> "TokenRows":
        return replace(self, owners=(owner,) * len(self))
