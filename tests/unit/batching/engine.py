"""An engine that adds ids up, rows for it, and limits for its batcher."""

import asyncio

import numpy as np

from deployments.batching.batcher import BatchLimits
from deployments.request.origin import Origin
from deployments.rows.model_output import ModelOutput
from deployments.rows.token_rows import TokenRows

ME = Origin("me")
LIMITS = BatchLimits(max_batch_tokens=16, max_batch_rows=4, max_queued_tokens=10_000)


class Engine:
    """Answers each row with the sum of its ids; records the batches it was given."""

    def __init__(self, delay_s: float = 0.0) -> None:
        self.batches: list[TokenRows] = []
        self.at_once = 0
        self.most_at_once = 0
        self._delay_s = delay_s

    async def compute(self, rows: TokenRows) -> ModelOutput:
        self.batches.append(rows)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(self._delay_s)
        self.at_once -= 1
        return ModelOutput.uncached(np.array([sum(row) for row in rows], np.float32))


def rows_of(*lengths: int) -> TokenRows:
    return TokenRows.pack([list(range(length)) for length in lengths])


def sums_of(*lengths: int) -> list[float]:
    return [float(sum(range(length))) for length in lengths]
