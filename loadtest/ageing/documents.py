"""The documents of an ageing run: clustered unit vectors, a text of some words and metadata."""

from collections.abc import Iterator

import numpy as np

from deployments.stores.base import Namespace, Record, Vector, VectorQuery

DIMENSIONS = 384
_CLUSTERS = 200
_SPREAD = 0.8
_TEXT = "a document of some thirty words " * 6


class Documents:
    """`count` documents, the same for the same seed."""

    def __init__(self, count: int, seed: int) -> None:
        self.count = count
        self._chance = np.random.default_rng(seed)
        self._centres = self._chance.normal(size=(_CLUSTERS, DIMENSIONS))
        self._vectors = [self._vector() for _ in range(count)]

    def all(self) -> Iterator[Record]:
        for number in range(self.count):
            yield self._record(number, turn=0)

    def updates(self, count: int, among: int) -> Iterator[Record]:
        """Yield `count` new texts for documents among the first `among`, in turn."""
        for turn in range(count):
            yield self._record(turn % among, turn=1 + turn // among)

    def query(self, ns: Namespace, k: int) -> VectorQuery:
        return VectorQuery(ns, self._vector(), k)

    def _record(self, number: int, turn: int) -> Record:
        metadata = {"number": number, "turn": turn}
        return Record(f"document-{number}", f"{_TEXT}{turn}", dict(metadata), self._vectors[number])

    def _vector(self) -> Vector:
        centre = self._centres[self._chance.integers(_CLUSTERS)]
        vector = centre + _SPREAD * self._chance.normal(size=DIMENSIONS)
        return np.asarray(vector / np.linalg.norm(vector), dtype=np.float32)
