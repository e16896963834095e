"""The distributed vector store: a Qdrant cluster, for more than one machine can hold.

Tenants share one Qdrant collection for each model; every request carries the namespace. Durability
comes from replication: Qdrant acknowledges a write before its log is on the disk. This module does
documents; `markers` knows the collections, `writes` how many points a call may change, `filters`
the filters.
"""

import asyncio
import uuid
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import numpy as np
from qdrant_client import AsyncQdrantClient, models

from deployments.errors import FingerprintMismatch, InvalidRequest
from deployments.stores.base import (
    Collection,
    Durability,
    Filter,
    Hit,
    Namespace,
    Page,
    Record,
    VectorQuery,
    VectorStore,
)
from deployments.stores.qdrant.markers import (
    Marker,
    QdrantRegistry,
    create_collection,
    qdrant_errors,
)
from deployments.stores.qdrant.points import (
    RETURNED,
    filter_of,
    to_record,
    to_request,
)
from deployments.stores.qdrant.writes import delete, delete_all, delete_matching, write
from deployments.stores.records import (
    SCAN_RECORDS,
    check_delete_target,
    check_fingerprint,
    check_limit,
    check_query,
    fill_page,
)

IN_MEMORY = ":memory:"

_TIMEOUT_S = 10
# Every search is within one namespace, so there is a graph for each and none over all of them.
_GRAPH_A_NAMESPACE = models.HnswConfigDiff(m=0, payload_m=16)
_KEYWORD = models.KeywordIndexType.KEYWORD


class QdrantStore(VectorStore):
    """The VectorStore over the Qdrant cluster at `url`.

    A Qdrant collection is created with `shard_number` shards, which a self-hosted server cannot
    change later, of `replication_factor` copies each. A write waits for `write_consistency_factor`
    copies. With IN_MEMORY as `url` the store ends with the process (for tests).
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        prefer_grpc: bool = True,
        shard_number: int = 12,
        replication_factor: int = 2,
        write_consistency_factor: int | None = None,
    ) -> None:
        self._url = url
        self._connection: dict[str, Any] = {
            "api_key": api_key,
            "prefer_grpc": prefer_grpc and url != IN_MEMORY,
            "timeout": _TIMEOUT_S,
        }
        self._replicated = replication_factor > 1
        self._settings: dict[str, Any] | None = {
            "shard_number": shard_number,
            "replication_factor": replication_factor,
            "write_consistency_factor": write_consistency_factor or min(2, replication_factor),
        }
        if url == IN_MEMORY:
            self._settings = None
        self._opened: tuple[AsyncQdrantClient, QdrantRegistry] | None = None

    async def ensure(self, ns: Namespace, dimensions: int, fingerprint: str) -> bool:
        async with qdrant_errors():
            marker, created = await self._registry.find(ns), False
            if marker is None:
                await self._create(Marker(ns.tenant, ns.collection, fingerprint, dimensions, ""))
                marker, created = await self._registry.add(ns, dimensions, fingerprint)
        if (marker.dimensions, marker.fingerprint) != (dimensions, fingerprint):
            raise FingerprintMismatch.between(ns.collection, marker.fingerprint, fingerprint)
        return created

    async def describe(self, ns: Namespace) -> Collection:
        async with qdrant_errors():
            return await self._describe(await self._registry.get(ns))

    async def fingerprint(self, ns: Namespace) -> str:
        async with qdrant_errors():
            return (await self._registry.get(ns)).fingerprint

    async def collections(self, tenant: str) -> list[Collection]:
        async with qdrant_errors():
            markers = await self._registry.of_tenant(tenant)
            found = await asyncio.gather(*(self._describe(marker) for marker in markers))
        return sorted(found, key=lambda collection: collection.name)

    async def upsert(
        self, ns: Namespace, records: Sequence[Record], fingerprint: str | None = None
    ) -> None:
        """Write 256 records at a time; a failure may leave the first ones written.

        Raises FingerprintMismatch if the collection is made anew meanwhile, for another model.
        """
        async with qdrant_errors():
            marker = await self._registry.get(ns)
            check_fingerprint(ns, marker.fingerprint, fingerprint)
            await write(self._client, marker, records)
            # The marker is a second old at most. If the collection was dropped and made anew since,
            # nobody would ever see what was written.
            while (newest := await self._registry.find(ns)) != marker:
                stale = [marker.point_id(record.id) for record in records]
                await delete(self._client, marker, stale)
                if newest is None:
                    raise ns.not_found()
                check_fingerprint(ns, newest.fingerprint, marker.fingerprint)
                marker = newest
                await write(self._client, marker, records)

    async def delete(
        self, ns: Namespace, ids: Sequence[str] | None = None, where: Filter | None = None
    ) -> int:
        """Delete 1,000 records at a time, so that no call to the server takes long; a failure may
        leave the first ones deleted."""
        check_delete_target(ids, where)
        async with qdrant_errors():
            marker = await self._registry.newest(ns)
            return await delete_matching(self._client, marker, filter_of(marker, where, ids))

    async def get(self, ns: Namespace, ids: Sequence[str]) -> list[Record | None]:
        async with qdrant_errors():
            marker = await self._registry.get(ns)
            points = await self._client.retrieve(
                marker.engine_collection,
                list({marker.point_id(id_) for id_ in ids}),
                with_payload=RETURNED,
            )
        found = {record.id: record for record in map(to_record, points)}
        return [found.get(id_) for id_ in ids]

    async def search(self, queries: Sequence[VectorQuery]) -> list[list[Hit]]:
        for query in queries:
            check_query(query)
        async with qdrant_errors():
            spaces = list({query.ns for query in queries})
            found = await asyncio.gather(*(self._registry.get(ns) for ns in spaces))
            markers = dict(zip(spaces, found, strict=True))
            groups: dict[str, list[int]] = {}
            for position, query in enumerate(queries):
                check_fingerprint(query.ns, markers[query.ns].fingerprint, query.fingerprint)
                name = markers[query.ns].engine_collection
                groups.setdefault(name, []).append(position)
            answers = await asyncio.gather(
                *(
                    self._client.query_batch_points(
                        name, [to_request(markers[queries[at].ns], queries[at]) for at in group]
                    )
                    for name, group in groups.items()
                )
            )
        hits: list[list[Hit]] = [[] for _ in queries]
        for group, answer in zip(groups.values(), answers, strict=True):
            for position, response in zip(group, answer, strict=True):
                hits[position] = [
                    Hit(to_record(point), float(np.clip(point.score, -1.0, 1.0)))
                    for point in response.points
                ]
        return hits

    async def scan(self, ns: Namespace, cursor: str | None, limit: int) -> Page:
        """Scan in no meaningful order. The cursor is the id of the next page's first point."""
        check_limit(limit)
        first = None if cursor is None else _checked_cursor(cursor)
        async with qdrant_errors():
            marker = await self._registry.get(ns)
            return await fill_page(self._read(marker, first, limit))

    async def drop(self, ns: Namespace) -> None:
        """Delete the points and then the marker, so that a failed drop can be repeated.

        The server has the deletion of the points in its log when it answers, and takes its time.
        """
        async with qdrant_errors():
            marker = await self._registry.newest(ns)
            await delete_all(self._client, marker)
            await self._registry.remove(ns)
            await delete_all(
                self._client, marker
            )  # what was written while the marker was still there

    async def health(self) -> Durability:
        async with qdrant_errors():
            await self._client.get_collections()
        if self._url == IN_MEMORY:
            return "memory"
        return "replicated" if self._replicated else "page-cache"

    async def close(self) -> None:
        if self._opened is not None:
            await self._client.close()
            self._opened = None

    @property
    def _client(self) -> AsyncQdrantClient:
        return self._open()[0]

    @property
    def _registry(self) -> QdrantRegistry:
        return self._open()[1]

    def _open(self) -> tuple[AsyncQdrantClient, QdrantRegistry]:
        """Open the client at the first call, because it binds itself to the running event loop."""
        if self._opened is None:
            client = AsyncQdrantClient(self._url, check_compatibility=False, **self._connection)
            self._opened = client, QdrantRegistry(client, self._settings)
        return self._opened

    async def _create(self, marker: Marker) -> None:
        vectors = models.VectorParams(size=marker.dimensions, distance=models.Distance.COSINE)
        indexes = {
            "namespace": models.KeywordIndexParams(type=_KEYWORD, is_tenant=True),
            "tokens": models.KeywordIndexParams(type=_KEYWORD),
        }
        settings = self._settings and self._settings | {"hnsw_config": _GRAPH_A_NAMESPACE}
        await create_collection(self._client, marker.engine_collection, vectors, settings, indexes)

    async def _describe(self, marker: Marker) -> Collection:
        counted = await self._client.count(marker.engine_collection, filter_of(marker), exact=True)
        return Collection(marker.collection, marker.dimensions, marker.fingerprint, counted.count)

    async def _read(
        self, marker: Marker, first: str | None, limit: int
    ) -> AsyncGenerator[tuple[Record, str | None], None]:
        """Yield up to `limit` records from the point `first` on, each with the next point's id."""
        left = limit
        while left > 0:
            points, following = await self._client.scroll(
                marker.engine_collection,
                filter_of(marker),
                limit=min(left, SCAN_RECORDS),
                offset=first,
                with_payload=RETURNED,
            )
            first = None if following is None else str(following)
            starts = [*(str(point.id) for point in points), first]
            for point, after in zip(points, starts[1:], strict=True):
                yield to_record(point), after
            left = 0 if first is None else left - len(points)


def _checked_cursor(cursor: str) -> str:
    try:
        return str(uuid.UUID(cursor))
    except ValueError:
        raise InvalidRequest("the cursor is not one that a scan returned", param="cursor") from None
