"""Model outputs for a batch of rows, as plain arrays that travel between replicas.

Knows no model and no queue.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class ModelOutput:
    """Scores or vectors, one a row.

    `values` is float32 [rows] or [rows, width]. `cached_tokens` is int32 [rows]: the row's tokens
    that came from a cache. `fingerprint` identifies the model; it is empty until the replica has
    set it, and if parts from different models were concatenated.
    """

    values: NDArray[np.float32]
    cached_tokens: NDArray[np.int32]
    fingerprint: str = ""

    @classmethod
    def uncached(cls, values: NDArray[np.float32]) -> "ModelOutput":
        """Wrap values of which no token came from a cache."""
        return cls(values, np.zeros(len(values), np.int32))

    @classmethod
    def concatenate(cls, parts: Sequence["ModelOutput"]) -> "ModelOutput":
        if len(parts) == 1:
            return parts[0]
        models = {part.fingerprint for part in parts}
        return cls(
            np.concatenate([part.values for part in parts]),
            np.concatenate([part.cached_tokens for part in parts]),
            models.pop() if len(models) == 1 else "",
        )

    def __len__(self) -> int:
        return len(self.values)

    def part(self, first: int, last: int) -> "ModelOutput":
        """Return the rows from `first` to `last` (exclusive)."""
        return ModelOutput(
            self.values[first:last], self.cached_tokens[first:last], self.fingerprint
        )

    def with_fingerprint(self, fingerprint: str) -> "ModelOutput":
        return replace(self, fingerprint=fingerprint)
