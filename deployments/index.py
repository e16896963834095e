"""The Index deployment: collections of documents and the search for their nearest.

Owns the vector store; the only writer of an embedded one. Knows no model: it compares the
fingerprint a vector comes with to that of the collection, and refuses what does not match.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deployments.configs import IndexConfig
from deployments.errors import FingerprintMismatch, PayloadTooLarge, StageUnavailable
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
from deployments.stores.records import size_of

# An answer between replicas has at most 64 MiB.
_MAX_ANSWER_MIB = 48


class Index:
    def __init__(self, config: IndexConfig) -> None:
        self._store = build_store(config)
        # On the instance, where Serve finds it to await at the replica's end, and Python does not.
        self.__del__ = self._store.close

    async def ensure(self, ns: Namespace, dimensions: int, fingerprint: str) -> bool:
        """Create the collection unless it is there; True if it was made now."""
        return await self._store.ensure(ns, dimensions, fingerprint)

    async def describe(self, ns: Namespace) -> Collection:
        return await self._store.describe(ns)

    async def collections(self, tenant: str) -> list[Collection]:
        return await self._store.collections(tenant)

    async def drop(self, ns: Namespace) -> None:
        await self._store.drop(ns)

    async def check(self, ns: Namespace, fingerprint: str) -> None:
        """Raises NotFound, or FingerprintMismatch if the vectors are another model's."""
        stored = await self._store.fingerprint(ns)
        if stored != fingerprint:
            raise FingerprintMismatch.between(ns.collection, stored, fingerprint)

    async def upsert(self, ns: Namespace, records: Sequence[Record], fingerprint: str) -> None:
        """Returns once the records are durable."""
        await self.check(ns, fingerprint)
        await self._store.upsert(ns, records)

    async def delete(self, ns: Namespace, ids: Sequence[str] | None, where: Filter | None) -> int:
        return await self._store.delete(ns, ids, where)

    async def get(self, ns: Namespace, ids: Sequence[str]) -> list[Record | None]:
        """In the order of `ids`. Raises PayloadTooLarge for more than one answer can hold."""
        records = await self._store.get(ns, ids)
        _check_size((record for record in records if record), "ids")
        return records

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
        """The `k` documents most similar to `vector` (float32 [dimensions]), best first.

        Raises PayloadTooLarge for more than one answer can hold.
        """
        await self.check(ns, fingerprint)
        [hits] = await self._store.search([Query(ns, vector, k, where)])
        _check_size((hit.record for hit in hits), "top_k")
        return hits

    async def status(self) -> str:
        """How durable an acknowledged write is. Raises StageUnavailable if the store is.

        Serve is not told: a new replica would not bring a store back.
        """
        return await self._store.health()


def _check_size(records: Iterable[Record], param: str) -> None:
    if sum(map(size_of, records)) > _MAX_ANSWER_MIB * 1024 * 1024:
        raise PayloadTooLarge(
            f"the documents have more than {_MAX_ANSWER_MIB} MiB in all: ask for fewer of them"
            f" with {param}",
            param=param,
        )


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
    key_file = config.api_key_file
    return QdrantStore(
        config.url,
        api_key=None if key_file is None else Path(key_file).read_text().strip(),
        shard_number=config.shard_number,
        replication_factor=config.replication_factor,
        write_consistency_factor=config.write_consistency_factor,
    )
