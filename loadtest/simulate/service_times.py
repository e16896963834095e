"""Service time of a batch alone, in seconds:
batch_s + token_s * tokens + square_s * sum of (row tokens)² + row_s * rows.

`batch_s` is the fixed cost of a step, `token_s` the matrix products, `square_s` the attention. For
`row_s` a row is handed to the engine and taken from it, by another process: while that is done, the
engine can compute another batch. Fitted to measurements
(loadtest/simulate/measure.py) or assumed: `source` says which. Knows no engine.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

# Of a `separate` engine: the CPU time of the replica's own process for each row, on one EPYC core
# (0.10 to 0.15 ms in seven of eight runs), beside vLLM 0.32 with a tiny model.
ROW_S = 1.3e-4


@dataclass(frozen=True, slots=True)
class Sample:
    """A measured batch: the lengths of its rows, and the seconds it took."""

    lengths: tuple[int, ...]
    seconds: float


class ServiceTimes(BaseModel):
    """The terms of one engine's service time, in seconds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str
    batch_s: float = Field(ge=0)
    token_s: float = Field(ge=0)
    square_s: float = Field(default=0.0, ge=0)
    row_s: float = Field(default=0.0, ge=0)

    def seconds(self, lengths: NDArray[np.int32]) -> float:
        """Seconds for one batch alone with rows of these lengths, int32 [rows]."""
        return self.hand_over_s(len(lengths)) + self.step_s(lengths)

    def hand_over_s(self, rows: int) -> float:
        """Seconds for which the engine itself does nothing for so many rows."""
        return self.row_s * rows

    def step_s(self, lengths: NDArray[np.int32]) -> float:
        """Seconds for which one step with rows of these lengths keeps the engine."""
        wide = lengths.astype(np.float64)
        return self.batch_s + self.token_s * float(wide.sum()) + self.square_s * float(wide @ wide)

    def tokens_per_s(self, batch_tokens: float, row_tokens: float) -> float:
        """Throughput in steps of `batch_tokens`, one after another, of rows of `row_tokens`."""
        attention = self.square_s * row_tokens
        return batch_tokens / (self.batch_s + (self.token_s + attention) * batch_tokens)

    def stretched(self, factor: float) -> Self:
        """Scale the time of every batch by `factor`."""
        names = ("batch_s", "token_s", "square_s", "row_s")
        terms = {name: factor * getattr(self, name) for name in names}
        return self.model_copy(update=terms)

    @classmethod
    def fit(cls, samples: Sequence[Sample], source: str) -> "ServiceTimes":
        """Fit the terms by least squares of the relative error, with none below 0."""
        rows = [(1.0, sum(one.lengths), sum(n * n for n in one.lengths)) for one in samples]
        took = np.array([one.seconds for one in samples])
        weighted = np.array(rows, np.float64) / took[:, None]
        terms = [0, 1, 2]
        while True:
            found, *_ = np.linalg.lstsq(weighted[:, terms], np.ones(len(took)), rcond=None)
            if (found >= 0).all():
                break
            terms.pop(int(np.argmin(found)))
        values = np.zeros(3)
        values[terms] = found
        batch_s, token_s, square_s = values.tolist()
        return cls(source=source, batch_s=batch_s, token_s=token_s, square_s=square_s)


class StageTimes(BaseModel):
    """Service times of both engines, of the index, and the overhead of HTTP and calls a request."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    embed: ServiceTimes
    rerank: ServiceTimes
    retrieve_s: float = Field(default=0.0, ge=0)
    overhead_s: float = Field(default=0.0, ge=0)


def read_times(path: Path) -> StageTimes:
    return StageTimes.model_validate_json(path.read_text())
