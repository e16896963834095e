"""Rows of token ids of unequal length, packed so that they travel between replicas as two arrays.

Knows nothing of the text they came from or of the model that reads them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class TokenRows:
    """`ids` is int32 [total_tokens]; `lengths` is int32 [rows].

    `segments` is int32 [rows] or None: where a row's second segment begins (BERT's token type 1).
    `owners` names whose each row is, or is empty while that does not matter.
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
        """A row a body, each from head to tail."""
        first, last = np.asarray(head, np.int32), np.asarray(tail, np.int32)
        lengths = np.fromiter(map(len, bodies), np.int32, len(bodies)) + len(head) + len(tail)
        pieces = [piece for body in bodies for piece in (first, body, last)]
        ids = np.concatenate(pieces) if pieces else np.empty(0, np.int32)
        starts = None if segments is None else np.asarray(segments, np.int32)
        return cls(ids, lengths.astype(np.int32), starts)

    @classmethod
    def concatenate(cls, parts: Sequence["TokenRows"]) -> "TokenRows":
        """The rows of all parts in order; the parts agree on having segments and owners or not."""
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
        """Rows `first` to `last` (exclusive); `cost_before` is the tokens of all before `first`."""
        lengths = self.lengths[first:last]
        return TokenRows(
            self.ids[cost_before : cost_before + int(lengths.sum())],
            lengths,
            None if self.segments is None else self.segments[first:last],
            self.owners[first:last],
        )

    def select(self, rows: Sequence[int]) -> "TokenRows":
        """The rows of these indices, in their order."""
        ends = np.cumsum(self.lengths, dtype=np.int64)
        parts = [self.part(row, row + 1, int(ends[row] - self.lengths[row])) for row in rows]
        return TokenRows.concatenate(parts)

    def owned_by(self, owner: str) -> "TokenRows":
        return replace(self, owners=(owner,) * len(self))
