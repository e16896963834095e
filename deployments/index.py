"""The Index deployment: collections of documents and the search for their nearest.

Owns the vector store; the only writer of an embedded one. Knows no model: it compares the
fingerprint a vector comes with to that of the collection, and refuses what does not match.
"""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deployments.configs import IndexConfig
from deployments.errors import FingerprintMismatch, StageUnavailable
from deployments.stores.base import (
    Collection,
    Filter,
    Hit,
    Namespace,
    Page,
    Query,
    Record,
    VectorStore,
)

# A fingerprint can only change by dropping a collection and making it anew, perhaps by another
# replica of this deployment; within this time that is noticed.
_FINGERPRINT_TTL_S = 1.0


class Index:
    def __init__(self, config: IndexConfig) -> None:
        self._store = build_store(config)
        self._fingerprints: dict[Namespace, tuple[float, str]] = {}

    async def ensure(self, ns: Namespace, dimensions: int, fingerprint: str) -> bool:
        """Create the collection unless it is there; True if it was made now."""
        return await self._store.ensure(ns, dimensions, fingerprint)

    async def describe(self, ns: Namespace) -> Collection:
        return await self._store.describe(ns)

    async def collections(self, tenant: str) -> list[Collection]:
        return await self._store.collections(tenant)

    async def drop(self, ns: Namespace) -> None:
        self._fingerprints.pop(ns, None)
        await self._store.drop(ns)

    async def check(self, ns: Namespace, fingerprint: str) -> None:
        """Raises NotFound, or FingerprintMismatch if the vectors are another model's."""
        now = time.monotonic()
        read_at, stored = self._fingerprints.get(ns, (-_FINGERPRINT_TTL_S, ""))
        if now - read_at >= _FINGERPRINT_TTL_S:
            stored = (await self._store.describe(ns)).fingerprint
            self._fingerprints[ns] = (now, stored)
        if stored != fingerprint:
            raise FingerprintMismatch.between(ns.collection, stored, fingerprint)

    async def upsert(self, ns: Namespace, records: Sequence[Record], fingerprint: str) -> None:
        """Returns once the records are durable."""
        await self.check(ns, fingerprint)
        await self._store.upsert(ns, records)

    async def delete(self, ns: Namespace, ids: Sequence[str] | None, where: Filter | None) -> int:
        return await self._store.delete(ns, ids, where)

    async def get(self, ns: Namespace, ids: Sequence[str]) -> list[Record | None]:
        return await self._store.get(ns, ids)

    async def scan(self, ns: Namespace, cursor: str | None, limit: int) -> Page:
        return await self._store.scan(ns, cursor, limit)

    async def search(
        self,
        ns: Namespace,
        vector: NDArray[np.float32],
        k: int,
        where: Filter | None,
        fingerprint: str,
    ) -> list[Hit]:
        """The `k` documents most similar to `vector` (float32 [dimensions]), best first."""
        await self.check(ns, fingerprint)
        [hits] = await self._store.search([Query(ns, vector, k, where)])
        return hits

    async def status(self) -> str:
        """How durable an acknowledged write is."""
        return await self._store.health()

    async def check_health(self) -> None:
        await self._store.health()


def build_store(config: IndexConfig) -> VectorStore:
    """Open the store. Imports its client late, so that only the one in use is loaded."""
    if config.engine == "lancedb":
        from deployments.stores.lancedb_store import LanceDBStore

        if config.directory is None:
            raise StageUnavailable("the lancedb index needs a directory")
        return LanceDBStore(Path(config.directory))
    from deployments.stores.qdrant_store import QdrantStore

    if config.url is None:
        raise StageUnavailable("the qdrant index needs a url")
    return QdrantStore(url=config.url, replication_factor=config.replication_factor)
