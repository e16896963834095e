"""Records for the tests of the stores."""

import numpy as np

from deployments.stores.base import Metadata, Namespace, Record, Vector, VectorStore

DIMENSIONS = 4
FINGERPRINT = "model@revision:prompt"


def unit(*components: float) -> Vector:
    vector = np.asarray(components, dtype=np.float32)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def record(
    id_: str, *, text: str | None = None, metadata: Metadata | None = None, turn: int = 0
) -> Record:
    """A record whose vector points further from (1, 0, 0, 0) the larger `turn` is, up to 100."""
    angle = turn * np.pi / 100
    vector = unit(np.cos(angle), np.sin(angle), 0, 0)
    return Record(id_, f"text of {id_}" if text is None else text, metadata or {}, vector)


def records(count: int) -> list[Record]:
    return [record(f"d{at}", turn=at % 100, metadata={"at": at}) for at in range(count)]


async def count(store: VectorStore, ns: Namespace) -> int:
    return (await store.describe(ns)).documents
