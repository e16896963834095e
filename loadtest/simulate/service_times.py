"""Service time of a batch: batch_s + token_s * tokens + square_s * sum of (row tokens)², seconds.

`batch_s` is the fixed cost, `token_s` the matrix products, `square_s` the attention. Of `batch_s`
the engine itself is idle for `hand_over_s`: another batch may be computed then. Fitted to
measurements (loadtest/simulate/measure.py) or assumed: `source` says which. Knows no engine.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator


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
    hand_over_s: float = Field(default=0.0, ge=0)

    @model_validator(mode="after")
    def _hands_over_within_the_batch(self) -> Self:
        if self.hand_over_s > self.batch_s:
            raise ValueError("hand_over_s is a part of batch_s")
        return self

    def seconds(self, lengths: NDArray[np.int32]) -> float:
        """Seconds for one batch alone with rows of these lengths, int32 [rows]."""
        wide = lengths.astype(np.float64)
        return self.batch_s + self.token_s * float(wide.sum()) + self.square_s * float(wide @ wide)

    def step_s(self, lengths: NDArray[np.int32]) -> float:
        """Seconds for which one step with rows of these lengths keeps the engine."""
        return self.seconds(lengths) - self.hand_over_s

    def tokens_per_s(self, batch_tokens: float, row_tokens: float) -> float:
        """Throughput in batches of `batch_tokens`, one at a time, with rows of `row_tokens`."""
        attention = self.square_s * row_tokens
        return batch_tokens / (self.batch_s + (self.token_s + attention) * batch_tokens)

    def stretched(self, factor: float) -> Self:
        """Scale the time of every batch by `factor`."""
        names = ("batch_s", "token_s", "square_s", "hand_over_s")
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
