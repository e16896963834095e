"""Made documents: unit vectors in clusters, and metadata to filter by."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deployments.stores.base import Compare, Filter, Metadata, Record
from deployments.stores.filters import matches

FILTERS: dict[str, Filter | None] = {
    "none": None,
    "1% by value": Compare("hundredth", "eq", 7),
    "1% by range": Compare("at", "lt", 0.01),
    "10% by range": Compare("at", "lt", 0.1),
    "50% by value": Compare("half", "eq", "first"),
}
_LATENT = 48
_CLUSTER = 100


@dataclass(frozen=True, slots=True)
class Tenant:
    """A tenant's documents and queries: float32 [documents, width] and [queries, width]."""

    name: str
    vectors: NDArray[np.float32]
    queries: NDArray[np.float32]

    def records(self) -> Iterator[Record]:
        for at, vector in enumerate(self.vectors):
            yield Record(f"d{at}", f"document {at} " * 40, self._metadata(at), vector)

    def passing(self, name: str) -> NDArray[np.int64]:
        """Return the positions of the documents that pass the filter of this name."""
        where = FILTERS[name]
        passed = [
            at
            for at in range(len(self.vectors))
            if where is None or matches(where, self._metadata(at))
        ]
        return np.asarray(passed, dtype=np.int64)

    def _metadata(self, at: int) -> Metadata:
        half = "first" if at % 2 else "second"
        return {"hundredth": at % 100, "at": at / len(self.vectors), "half": half}


def make(name: str, documents: int, queries: int, width: int, seed: int) -> Tenant:
    """Make vectors around centres in a space of at most 48 dimensions, as embeddings lie."""
    random = np.random.default_rng(seed)
    latent = min(_LATENT, width)
    spread = random.normal(size=(latent, width))
    centres = random.normal(size=(max(1, documents // _CLUSTER), latent))
    chosen = centres[random.integers(len(centres), size=documents + queries)]
    made = (chosen + 0.5 * random.normal(size=chosen.shape)) @ spread
    unit = (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)
    return Tenant(name, unit[:documents], unit[documents:])
