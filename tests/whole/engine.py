"""A PoolingEngine that needs no weights: what it answers follows from the tokens alone."""

import zlib

import numpy as np
from numpy.typing import NDArray

from deployments.engine.base import RowsFailed
from deployments.rows.model_output import ModelOutput
from deployments.rows.token_rows import TokenRows


class HashingEngine:
    """Equal rows have equal vectors, rows that share no token nearly orthogonal ones. The score of
    a pair falls with its length. `drift` is added to both, as by a kernel that has gone wrong.
    Batches with one of the ids `refused` are not computed, and rows with one of `infinite` have
    infinite values."""

    def __init__(self, dimensions: int) -> None:
        self._dimensions = dimensions
        self.drift = 0.0
        self.refused: set[int] = set()
        self.infinite: set[int] = set()

    async def embed(self, rows: TokenRows) -> ModelOutput:
        self._require_taken(rows)
        vectors = np.stack([self._vector(ids) for ids in rows]) + self.drift
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        vectors[self._are_infinite(rows)] = np.inf
        return ModelOutput.uncached(vectors.astype(np.float32))

    async def score(self, rows: TokenRows) -> ModelOutput:
        self._require_taken(rows)
        logits = 2 - rows.lengths / 16 + self.drift
        logits[self._are_infinite(rows)] = np.inf
        return ModelOutput.uncached(logits.astype(np.float32))

    async def check_health(self) -> None:
        return

    def close(self) -> None:
        return

    def _require_taken(self, rows: TokenRows) -> None:
        if self.refused & set(rows.ids.tolist()):
            raise RowsFailed("one of the rows is not taken")

    def _are_infinite(self, rows: TokenRows) -> list[bool]:
        return [bool(self.infinite & set(ids)) for ids in rows]

    def _vector(self, ids: list[int]) -> NDArray[np.float64]:
        seeds = [zlib.crc32(id.to_bytes(4, "little")) for id in ids]
        parts = [np.random.default_rng(seed).standard_normal(self._dimensions) for seed in seeds]
        summed: NDArray[np.float64] = np.stack(parts).sum(axis=0)
        return summed
