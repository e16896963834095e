"""Throughput of an engine: batches one after another, several at a time.

Knows a coroutine that computes rows; no model.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

import numpy as np

from deployments.rows.model_output import ModelOutput
from deployments.rows.token_rows import TokenRows

Compute = Callable[[TokenRows], Awaitable[ModelOutput]]

# Ids of ordinary tokens.
_LOWEST_ID, _HIGHEST_ID = 2_000, 20_000
# Rounds before the measurement: the first batches of a shape compile and allocate.
_WARM_UP = 2


@dataclass(slots=True)
class Rate:
    """Rows computed in `seconds`: of each its length, and its tokens from a cache."""

    rows: list[tuple[int, int]]
    seconds: float

    @property
    def rows_per_s(self) -> float:
        return len(self.rows) / self.seconds

    @property
    def tokens_per_s(self) -> float:
        return sum(length for length, _ in self.rows) / self.seconds

    @property
    def cached_share(self) -> float:
        """Share of the tokens that came from the prefix cache."""
        cached = sum(one for _, one in self.rows)
        return cached / sum(length for length, _ in self.rows)


async def measure(
    compute: Compute, batches: Iterator[TokenRows], at_once: int, seconds: float
) -> Rate:
    """Compute batches for `seconds`, `at_once` at a time."""
    for _ in range(_WARM_UP):
        await asyncio.gather(*(compute(next(batches)) for _ in range(at_once)))
    found = Rate([], 0.0)
    began_s = time.perf_counter()

    async def worker() -> None:
        while time.perf_counter() < began_s + seconds:
            rows = next(batches)
            done = await compute(rows)
            found.rows += zip(rows.lengths.tolist(), done.cached_tokens.tolist(), strict=True)

    await asyncio.gather(*(worker() for _ in range(at_once)))
    found.seconds = time.perf_counter() - began_s
    return found


def random_batches(row_tokens: int, batch_tokens: int, most_rows: int) -> Iterator[TokenRows]:
    """Yield batches of `batch_tokens` of rows of random tokens, all of them different."""
    random = np.random.default_rng(row_tokens)
    rows = max(1, min(batch_tokens // row_tokens, most_rows))
    lengths = np.full(rows, row_tokens, np.int32)
    while True:
        ids = random.integers(_LOWEST_ID, _HIGHEST_ID, rows * row_tokens, dtype=np.int32)
        yield TokenRows(ids, lengths)
