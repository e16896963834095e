"""The Index deployment: collections of documents and the search for their nearest.

Owns the vector store; the only writer of an embedded one. Knows no model, only the fingerprint that
a vector comes with: one that is not the collection's is refused.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from deployments.batching.batcher import Batcher
from deployments.batching.replica_id import own_id
from deployments.batching.replica_load import ReplicaLoad
from deployments.batching.search_costs import SearchCosts
from deployments.batching.search_limits import SearchLimits
from deployments.config import IndexConfig
from deployments.errors import (
    DeadlineExceeded,
    InternalError,
    Overloaded,
    StageUnavailable,
    StoreUnavailable,
    WinnowError,
)
from deployments.metrics.queues import QueueMetrics
from deployments.metrics.stores import IndexMetrics
from deployments.request.origin import Origin
from deployments.request.traced import is_traced
from deployments.rows.searches import SearchAnswers, Searches
from deployments.stores.base import (
    Collection,
    Filter,
    Hit,
    IndexSearch,
    Namespace,
    Page,
    Record,
    SearchAnswer,
    VectorQuery,
    VectorStore,
)
from deployments.stores.breaker import StoreBreaker
from deployments.stores.records import ANSWER_BYTES, check_fingerprint, size_of, too_large

logger = logging.getLogger(__name__)

# Of a call to the store: its callers leave at their deadlines, and it would hold its slot for ever.
_STORE_TIMEOUT_S = 30.0
# A store reads all that it is asked for before it answers; a document has 4 MB at most.
_READ_DOCUMENTS = 64


class Index:
    def __init__(self, config: IndexConfig) -> None:
        self._store = build_store(config)
        self._breaker = StoreBreaker(time.monotonic)
        self._costs = SearchCosts()
        self._queue_metrics = QueueMetrics("retrieve")
        self._searches: Batcher[Searches, SearchAnswers] = Batcher(
            self._answer,
            time.monotonic,
            SearchLimits().of_batches(),
            lambda rows, _, took_s: self._costs.learn(rows.searches, took_s),
            mixed=False,
            measured_as=own_id() if is_traced() else "",
            waited=self._queue_metrics.waited,
        )
        self._disk_metrics = (
            IndexMetrics(Path(config.directory)) if config.directory is not None else None
        )
        # On the instance, where Serve finds it to await at the replica's end, and Python does not.
        self.__del__ = self._store.close

    def reconfigure(self, user_config: dict[str, Any]) -> None:
        self._searches.limits = SearchLimits.model_validate(user_config).of_batches()

    async def load(self) -> ReplicaLoad:
        return ReplicaLoad.of(self._searches)

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
        check_fingerprint(ns, await self._store.fingerprint(ns), fingerprint)

    async def upsert(self, ns: Namespace, records: Sequence[Record], fingerprint: str) -> None:
        """Returns once the records are durable."""
        await self._store.upsert(ns, records, fingerprint)

    async def delete(self, ns: Namespace, ids: Sequence[str] | None, where: Filter | None) -> int:
        return await self._store.delete(ns, ids, where)

    async def get(self, ns: Namespace, ids: Sequence[str]) -> list[Record | None]:
        """In the order of `ids`. Raises PayloadTooLarge for more than one answer can hold."""
        records: list[Record | None] = []
        size_bytes = 0
        async for some in self._read(ns, ids):
            records += some
            size_bytes += sum(size_of(record) for record in some if record)
            if size_bytes > ANSWER_BYTES:
                raise too_large("ids")
        return records

    async def count_new(self, ns: Namespace, ids: Sequence[str]) -> int:
        """Return how many of the ids no document has."""
        return sum([some.count(None) async for some in self._read(ns, ids)])

    async def _read(self, ns: Namespace, ids: Sequence[str]) -> AsyncIterator[list[Record | None]]:
        for start in range(0, len(ids), _READ_DOCUMENTS):
            yield await self._store.get(ns, ids[start : start + _READ_DOCUMENTS])

    async def scan(self, ns: Namespace, cursor: str | None, limit: int) -> Page:
        return await self._store.scan(ns, cursor, limit)

    async def search(
        self, searches: Sequence[IndexSearch], timeout_s: float, origin: Origin
    ) -> SearchAnswers | WinnowError:
        """Each search's documents, best first. Returns Overloaded, DeadlineExceeded and
        StoreUnavailable, because Serve logs a traceback of each error that is raised, which costs
        more than to refuse."""
        rows = self._costs.estimate(searches)
        try:
            found = await self._searches.submit(rows, timeout_s, origin)
        except (Overloaded, DeadlineExceeded, StoreUnavailable) as refusal:
            if isinstance(refusal, Overloaded) and refusal.unit_s is not None:
                refusal.unit_s *= float(rows.costs.mean())  # a caller counts searches
            return refusal
        room = _Room()
        return SearchAnswers(tuple(map(room.hold, found.answers)), found.runs)

    async def _answer(self, rows: Searches) -> SearchAnswers:
        # Those that wait are not to wait for a store that did not answer those before them.
        with self._breaker.guard():
            try:
                async with asyncio.timeout(_STORE_TIMEOUT_S):
                    return await self._ask_store(rows.searches)
            except TimeoutError:
                raise StoreUnavailable("the vector store does not answer") from None

    async def _ask_store(self, searches: Sequence[IndexSearch]) -> SearchAnswers:
        refused = await asyncio.gather(*map(self._refusal, searches))
        # The store compares again: a collection may have been made anew since it was checked.
        good = [
            replace(search.query, fingerprint=search.fingerprint)
            for search, why in zip(searches, refused, strict=True)
            if not why
        ]
        answers = iter(await self._search_together(good))
        return SearchAnswers(tuple(why or next(answers) for why in refused))

    async def _refusal(self, search: IndexSearch) -> WinnowError | None:
        try:
            await self.check(search.query.ns, search.fingerprint)
        except StageUnavailable:
            raise  # as in `_search_together`
        except WinnowError as refusal:
            return refusal
        except Exception:  # a damaged collection, say
            return _failed()
        return None

    async def _search_together(
        self, queries: Sequence[VectorQuery]
    ) -> list[list[Hit] | WinnowError]:
        try:
            return [*await self._store.search(queries)]
        except (Overloaded, StageUnavailable, DeadlineExceeded):
            raise  # the store's trouble, and no query's fault
        except Exception:  # whoever caused it, the others shall not hear of it
            return [await self._search_alone(query) for query in queries]

    async def _search_alone(self, query: VectorQuery) -> list[Hit] | WinnowError:
        try:
            [hits] = await self._store.search([query])
        except WinnowError as error:
            return error
        except Exception:
            return _failed()
        return hits

    async def ping(self) -> None:
        """Answer at once, whatever the store does."""

    async def check_health(self) -> None:
        """Report metrics: Serve asks every few seconds."""
        self._queue_metrics.report(self._searches.oldest_wait_s(), {})
        if self._disk_metrics is not None:
            with contextlib.suppress(OSError):  # of a disk that fails, searches tell
                await asyncio.to_thread(self._disk_metrics.report)

    async def status(self) -> str:
        """Durability of an acknowledged write. Raises StoreUnavailable if the store is away.

        Serve is not told: a new replica would not bring a store back.
        """
        return await self._store.health()


class _Room:
    """Bytes that an answer may still hold."""

    def __init__(self) -> None:
        self._left_bytes = ANSWER_BYTES

    def hold(self, hits: SearchAnswer) -> SearchAnswer:
        """The hits if there is room for them; else None, or an error if there never is."""
        if hits is None or isinstance(hits, WinnowError):
            return hits
        size = sum(size_of(hit.record) for hit in hits)
        if size > ANSWER_BYTES:
            return too_large("top_k")
        if size > self._left_bytes:
            return None
        self._left_bytes -= size
        return hits


def _failed() -> InternalError:
    """Log the exception that is handled, and return what its caller hears."""
    logger.exception("a search failed")
    return InternalError("the retrieve stage failed on this request")


def build_store(config: IndexConfig) -> VectorStore:
    """Open the store. Imports its client late, so that only the one in use is loaded."""
    if config.engine == "lancedb":
        from deployments.stores.lancedb.store import LanceDBStore

        assert config.directory is not None  # the configuration has checked it
        return LanceDBStore(Path(config.directory))
    if config.engine == "postgres":
        from deployments.stores.postgres.store import PostgresStore

        assert config.database_url_file is not None
        url = Path(config.database_url_file).read_text().strip()
        return PostgresStore(url, connections=config.connections)
    from deployments.stores.qdrant.store import QdrantStore

    assert config.url is not None
    key_file = config.api_key_file
    return QdrantStore(
        config.url,
        api_key=None if key_file is None else Path(key_file).read_text().strip(),
        shard_number=config.shard_number,
        replication_factor=config.replication_factor,
        write_consistency_factor=config.write_consistency_factor,
    )
