"""The registry of collections, kept in Qdrant itself: one marker point, without vector, for each.

Tenants share a Qdrant collection for each model, so the server's own list does not name ours. A
marker also holds the collection's generation, which is part of every point's namespace: a
collection that is dropped and created again never sees the old one's points. Knows no documents.
"""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from hashlib import blake2b
from typing import Any

import grpc
from cachetools import LRUCache
from qdrant_client import AsyncQdrantClient, models
from qdrant_client.common.client_exceptions import ResourceExhaustedResponse
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

from deployments.errors import Overloaded, StorageFull, StoreUnavailable
from deployments.stores.base import Namespace

_REGISTRY = "winnow_registry"
_IDS = uuid.UUID("6f1c3b0e-5f0b-4c4e-9b57-0d6f3f1a9a52")
_PAGE = 1_000
# How long a marker is cached; meanwhile another replica may have dropped the collection.
_CACHED_S = 1.0
_MOST_CACHED = 10_000
_NO_SPACE = ("no space left", "disk usage", "available disk space")
_HTTP_INSUFFICIENT_STORAGE = 507
_SERVER_ERROR = 500


@dataclass(frozen=True, slots=True)
class Marker:
    """A collection, with the generation that tells it from earlier ones of the same name."""

    tenant: str
    collection: str
    fingerprint: str
    dimensions: int
    generation: str

    @property
    def namespace(self) -> str:
        """The tenant key of its points; unique, since no name contains a '/'."""
        return f"{self.tenant}/{self.collection}/{self.generation}"

    @property
    def engine_collection(self) -> str:
        """The Qdrant collection that holds its points: one for each model."""
        model = blake2b(self.fingerprint.encode(), digest_size=12).hexdigest()
        return f"winnow_{self.dimensions}_{model}"

    def point_id(self, document: str) -> str:
        return str(uuid.uuid5(_IDS, f"{self.namespace}/{document}"))


class QdrantRegistry:
    """Finds, adds and removes markers, and caches them for a second.

    `settings` are for new Qdrant collections; None in local mode, which takes none.
    """

    def __init__(self, client: AsyncQdrantClient, settings: dict[str, Any] | None) -> None:
        self._client = client
        self._settings = settings
        self._read: LRUCache[Namespace, tuple[float, Marker]] = LRUCache(_MOST_CACHED)
        self._reading: dict[Namespace, asyncio.Task[Marker | None]] = {}
        self._ready = False

    async def find(self, ns: Namespace) -> Marker | None:
        """Read the marker from Qdrant; None if there is no such collection."""
        now_s = time.monotonic()
        await self._prepare()
        points = await self._client.retrieve(_REGISTRY, [_marker_id(ns)], with_payload=True)
        if not points or points[0].payload is None:
            self._read.pop(ns, None)
            return None
        found = Marker(**points[0].payload)
        self._read[ns] = (now_s, found)
        return found

    async def newest(self, ns: Namespace) -> Marker:
        """Read the marker from Qdrant. Raises NotFound."""
        marker = await self.find(ns)
        if marker is None:
            raise ns.not_found()
        return marker

    async def get(self, ns: Namespace) -> Marker:
        """Return the marker, at most a second old; concurrent callers share one read.

        Raises NotFound.
        """
        read_s, marker = self._read.get(ns, (-_CACHED_S, None))
        if time.monotonic() - read_s >= _CACHED_S:
            if ns not in self._reading:
                self._reading[ns] = asyncio.create_task(self.find(ns))
                self._reading[ns].add_done_callback(lambda _: self._reading.pop(ns))
            # A cancelled caller must not cancel the others' read.
            marker = await asyncio.shield(self._reading[ns])
        if marker is None:
            raise ns.not_found()
        return marker

    async def add(self, ns: Namespace, dimensions: int, fingerprint: str) -> tuple[Marker, bool]:
        """Add a marker unless there is one. Return the stored one, and whether it was added now."""
        await self._prepare()
        mine = Marker(ns.tenant, ns.collection, fingerprint, dimensions, uuid.uuid4().hex)
        await self._client.upsert(
            _REGISTRY,
            [models.PointStruct(id=_marker_id(ns), payload=asdict(mine), vector={})],
            wait=True,
            ordering=models.WriteOrdering.STRONG,
            update_mode=models.UpdateMode.INSERT_ONLY,
        )
        stored = await self.find(ns)
        return (mine, True) if stored is None or stored == mine else (stored, False)

    async def remove(self, ns: Namespace) -> None:
        await self._client.delete(_REGISTRY, [_marker_id(ns)], wait=True)
        self._read.pop(ns, None)

    async def of_tenant(self, tenant: str) -> list[Marker]:
        await self._prepare()
        mine = models.FieldCondition(key="tenant", match=models.MatchValue(value=tenant))
        markers: list[Marker] = []
        offset: models.ExtendedPointId | None = None
        while True:
            points, offset = await self._client.scroll(
                _REGISTRY, models.Filter(must=[mine]), limit=_PAGE, offset=offset
            )
            markers += [Marker(**point.payload) for point in points if point.payload]
            if offset is None:
                return markers

    async def _prepare(self) -> None:
        if not self._ready:
            tenant = models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD)
            await create_collection(self._client, _REGISTRY, {}, self._settings, {"tenant": tenant})
            self._ready = True


async def create_collection(
    client: AsyncQdrantClient,
    name: str,
    vectors: models.VectorParams | dict[str, models.VectorParams],
    settings: dict[str, Any] | None,
    indexes: dict[str, models.KeywordIndexParams],
) -> None:
    """Create a Qdrant collection unless it exists, and its indexes, which may still be missing."""
    if not await client.collection_exists(name):
        try:
            await client.create_collection(name, vectors_config=vectors, **settings or {})
        except (UnexpectedResponse, grpc.aio.AioRpcError, ValueError):
            if not await client.collection_exists(name):  # else another replica was first
                raise
    if settings is None:
        return  # local mode has no indexes
    for key, schema in indexes.items():
        await client.create_payload_index(name, key, field_schema=schema, wait=True)


@asynccontextmanager
async def qdrant_errors() -> AsyncIterator[None]:
    """Turn the client's errors into ours."""
    try:
        yield
    except (ResponseHandlingException, UnexpectedResponse, grpc.aio.AioRpcError) as error:
        text = str(error).lower()
        status = error.status_code if isinstance(error, UnexpectedResponse) else None
        if status == _HTTP_INSUFFICIENT_STORAGE or any(words in text for words in _NO_SPACE):
            raise StorageFull("the index has no space left") from error
        if isinstance(error, UnexpectedResponse) and (status or 0) < _SERVER_ERROR:
            raise
        raise StoreUnavailable("the index does not answer") from error
    except ResourceExhaustedResponse as error:
        raise Overloaded("the index has more requests than it can take") from error


def _marker_id(ns: Namespace) -> str:
    return str(uuid.uuid5(_IDS, f"{ns.tenant}/{ns.collection}"))
