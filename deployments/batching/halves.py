"""The search for a row that a model cannot compute, so that it fails alone.

A batch that fails is computed again by halves, and so is each half that fails: one bad row of n
costs about two batches' time, and n bad ones 1 + log2(n).

Pure: knows rows and a coroutine that computes them.
"""

import logging
from collections.abc import Awaitable, Callable

from deployments.engine.base import RowsFailed
from deployments.rows.model_output import ModelOutput
from deployments.rows.token_rows import TokenRows

logger = logging.getLogger(__name__)

Compute = Callable[[TokenRows], Awaitable[ModelOutput]]


async def compute_by_halves(compute: Compute, rows: TokenRows) -> ModelOutput:
    """The output of `rows`; the values of those that cannot be computed are NaN."""
    try:
        return await compute(rows)
    except RowsFailed as failure:
        if len(rows) == 1:
            logger.error("a row of %d tokens fails", rows.total_tokens, exc_info=failure)
            return ModelOutput.failed(1)
    halves = [await compute_by_halves(compute, half) for half in rows.halves()]
    return ModelOutput.concatenate(halves)
