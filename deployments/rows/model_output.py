"""Model outputs for a batch of rows, as plain arrays that travel between replicas.

Knows no model and no queue.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from deployments.request.batch_run import BatchRun, Runs, place, runs_of_part
from deployments.rows.engine_counts import EngineCounts, total


@dataclass(frozen=True, slots=True)
class ModelOutput:
    """Scores or vectors, one a row.

    `values` is float32 [rows] or [rows, width]; those of a row that failed are NaN or infinite.
    `cached_tokens` is int32 [rows]: the row's tokens that came from a cache. `fingerprint`
    identifies the model; it is empty until the replica has set it, and if parts from different
    models were concatenated. `runs` are the batches that computed them. `counts` are what the
    engine counted since it last gave some, of batches beside this one too: a part has none.
    """

    values: NDArray[np.float32]
    cached_tokens: NDArray[np.int32]
    fingerprint: str = ""
    runs: Runs = ()
    counts: EngineCounts | None = None

    @classmethod
    def uncached(cls, values: NDArray[np.float32]) -> "ModelOutput":
        """Wrap values of which no token came from a cache."""
        return cls(values, np.zeros(len(values), np.int32))

    @classmethod
    def failed(cls, rows: int) -> "ModelOutput":
        """The output of rows that all failed: it has no width, until it is concatenated."""
        return cls.uncached(np.full(rows, np.nan, np.float32))

    @classmethod
    def concatenate(cls, parts: Sequence["ModelOutput"]) -> "ModelOutput":
        if len(parts) == 1:
            return parts[0]
        models = {part.fingerprint for part in parts}
        return cls(
            _stack([part.values for part in parts]),
            np.concatenate([part.cached_tokens for part in parts]),
            models.pop() if len(models) == 1 else "",
            tuple(chain.from_iterable(part.runs for part in parts)),
            total(part.counts for part in parts),
        )

    def __len__(self) -> int:
        return len(self.values)

    def part(self, first: int, last: int) -> "ModelOutput":
        """Return the rows from `first` to `last` (exclusive)."""
        return ModelOutput(
            self.values[first:last],
            self.cached_tokens[first:last],
            self.fingerprint,
            runs_of_part(self.runs, first, last),
        )

    def ran(self, run: BatchRun) -> "ModelOutput":
        return ModelOutput(self.values, self.cached_tokens, self.fingerprint, (run,))

    def placed(self, called_s: float, answered_s: float) -> "ModelOutput":
        """Return the same output, with its runs at their place in the Router's call."""
        if not self.runs:
            return self
        runs = place(self.runs, called_s, answered_s)
        return ModelOutput(self.values, self.cached_tokens, self.fingerprint, runs)

    def with_fingerprint(self, fingerprint: str) -> "ModelOutput":
        return replace(self, fingerprint=fingerprint)

    def first_failed(self) -> int | None:
        """Return the first row with a value that is not finite; None if there is none."""
        finite = np.isfinite(self.values).all(axis=tuple(range(1, self.values.ndim)))
        return None if finite.all() else int(finite.argmin())


def _stack(parts: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Concatenate the parts; those without a width get that of the others."""
    width = max((part.shape[1:] for part in parts), key=len)
    same = [
        part if part.shape[1:] == width else np.full((len(part), *width), np.nan, np.float32)
        for part in parts
    ]
    return np.concatenate(same)
