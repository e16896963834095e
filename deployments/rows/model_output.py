"""What a model made of rows: plain arrays that cross between replicas.

Knows no model and no queue.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class ModelOutput:
    """`values` is float32 [rows] or [rows, width]; `cached_tokens` is int32 [rows]: how many of a
    row's tokens were in a cache and not computed again.

    `fingerprint` is that of the model: empty before its replica has put it there, and where parts
    by different models came together.
    """

    values: NDArray[np.float32]
    cached_tokens: NDArray[np.int32]
    fingerprint: str = ""

    @classmethod
    def uncached(cls, values: NDArray[np.float32]) -> "ModelOutput":
        """No token of it came from a cache."""
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
        """Rows `first` to `last` (exclusive)."""
        return ModelOutput(
            self.values[first:last], self.cached_tokens[first:last], self.fingerprint
        )

    def with_fingerprint(self, fingerprint: str) -> "ModelOutput":
        return replace(self, fingerprint=fingerprint)
