"""The embedded vector store: LanceDB tables in a local directory, durable when acknowledged.

Each (tenant, collection) is a table of its own, so tenants are not separated by a filter alone. One
process writes to a directory; others may read it. This module does queries and commits; `tables`
knows the directory, `filters` the filters, `maintenance` compaction and indexes.
"""

import asyncio
import contextlib
import os
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import pyarrow as pa  # type: ignore[import-untyped]  # ships no annotations
from lancedb.expr import Expr, col, lit
from lancedb.query import ColumnOrdering
from lancedb.table import AsyncTable

from deployments.errors import (
    FingerprintMismatch,
    NotBegun,
    NotFound,
    StoreUnavailable,
)
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
from deployments.stores.lancedb.directory_lock import ENDED
from deployments.stores.lancedb.durability import Barrier, storage_full_errors, system_barrier
from deployments.stores.lancedb.filters import one_of, to_expression
from deployments.stores.lancedb.group_commit import GroupCommit
from deployments.stores.lancedb.maintenance_process import MaintenanceProcess
from deployments.stores.lancedb.rows import (
    RETURNED,
    collection_of,
    search_columns,
    to_hits,
    to_records,
    to_rows,
)
from deployments.stores.lancedb.tables import LanceTables, table_name
from deployments.stores.records import (
    SCAN_RECORDS,
    check_delete_target,
    check_limit,
    check_query,
    check_records,
    checked_vector,
    fill_page,
    last_wins,
)

# An open table takes 66 kB of memory.
_OPEN_TABLES = 1_024
_MAX_COMMIT_RECORDS = 10_000


@dataclass(slots=True)
class _OpenTable:
    """An open table. Writes check `dropped`, so that none recreates files of a dropped table."""

    engine: AsyncTable
    schema: pa.Schema
    collection: Collection
    writes: GroupCommit = field(init=False)
    dropped: bool = False


class LanceDBStore(VectorStore):
    """The VectorStore over `directory`.

    `cache_bytes` bounds each of the engine's two caches, of indexes and of metadata. A table is
    compacted in the background after `commits_between_maintenance` commits.
    """

    def __init__(
        self,
        directory: Path,
        *,
        cache_bytes: int = 256 * 1024 * 1024,
        commits_between_maintenance: int = 50,
        barrier: Barrier | None = None,
    ) -> None:
        self._tables = LanceTables(directory, barrier or system_barrier(), cache_bytes)
        self._maintenance = MaintenanceProcess(directory, commits_between_maintenance)
        self._open: OrderedDict[Namespace, _OpenTable] = OrderedDict()
        self._changing_catalog = asyncio.Lock()
        self._opening = asyncio.Lock()
        self._closed = False

    async def ensure(self, ns: Namespace, dimensions: int, fingerprint: str) -> bool:
        async with self._changing_catalog:
            if not await self._tables.exists(ns):
                self._open.pop(ns, None)
            with contextlib.suppress(NotFound):
                existing = (await self._table(ns)).collection
                if (existing.dimensions, existing.fingerprint) != (dimensions, fingerprint):
                    raise FingerprintMismatch.between(
                        ns.collection, existing.fingerprint, fingerprint
                    )
                return False
            with storage_full_errors():
                await self._tables.create(ns, dimensions, fingerprint)
            return True

    async def describe(self, ns: Namespace) -> Collection:
        async with self._using(ns) as table:
            return replace(table.collection, documents=await table.engine.count_rows())

    async def fingerprint(self, ns: Namespace) -> str:
        async with self._using(ns) as table:
            return table.collection.fingerprint

    async def collections(self, tenant: str) -> list[Collection]:
        found = []
        async for ns in self._tables.of_tenant(tenant):
            with contextlib.suppress(NotFound):  # dropped since it was listed
                found.append(await self.describe(ns))
        return sorted(found, key=lambda collection: collection.name)

    async def upsert(self, ns: Namespace, records: Sequence[Record]) -> None:
        async with self._using(ns) as table:
            check_records(records, table.collection.dimensions)
            if records:
                await table.writes.upsert(records)

    async def delete(
        self, ns: Namespace, ids: Sequence[str] | None = None, where: Filter | None = None
    ) -> int:
        check_delete_target(ids, where)
        condition = one_of(ids or ()) if where is None else to_expression(where)
        async with self._using(ns) as table:
            return await table.writes.exclusive(lambda: self._delete(ns, table, condition))

    async def get(self, ns: Namespace, ids: Sequence[str]) -> list[Record | None]:
        async with self._using(ns) as table:
            rows = await table.engine.query().where(one_of(ids)).select(RETURNED).to_arrow()
            found = {record.id: record for record in to_records(rows)}
            return [found.get(id_) for id_ in ids]

    async def search(self, queries: Sequence[VectorQuery]) -> list[list[Hit]]:
        groups: dict[tuple[Namespace, str, int], list[int]] = {}
        for position, query in enumerate(queries):
            check_query(query)
            # Filters are compared as text, because 1, 1.0 and True are equal by `==`.
            groups.setdefault((query.ns, repr(query.where), query.k), []).append(position)
        answers = await asyncio.gather(
            *(self._search_group([queries[at] for at in group]) for group in groups.values())
        )
        hits: list[list[Hit]] = [[] for _ in queries]
        for group, answer in zip(groups.values(), answers, strict=True):
            for position, found in zip(group, answer, strict=True):
                hits[position] = found
        return hits

    async def scan(self, ns: Namespace, cursor: str | None, limit: int) -> Page:
        """Scan in order of id. The cursor is the last id of the page."""
        check_limit(limit)
        async with self._using(ns) as table:
            # Only ids are sorted: sorting rows would read every vector for each page.
            query = table.engine.query()
            query = query if cursor is None else query.where(col("id") > lit(cursor))
            ordered = query.order_by([ColumnOrdering(column_name="id")]).limit(limit + 1)
            ids = (await ordered.select(["id"]).to_arrow()).column("id").to_pylist()
            return await fill_page(self._read(ns, ids, limit))

    async def drop(self, ns: Namespace) -> None:
        """Drop the collection; a cancelled caller does not cancel that."""
        await asyncio.shield(asyncio.create_task(self._drop(ns)))

    async def health(self) -> Durability:
        try:
            await self._tables.connect()
            writable = await asyncio.to_thread(os.access, self._tables.directory, os.W_OK)
        except OSError as error:
            raise StoreUnavailable("the directory of the index cannot be created") from error
        if not writable:
            raise StoreUnavailable("the directory of the index cannot be written to")
        return "fsync"

    async def close(self) -> None:
        self._closed = True
        for table in list(self._open.values()):
            await table.writes.settle()
            table.engine.close()  # type: ignore[no-untyped-call]  # unannotated there
        self._open.clear()
        await self._maintenance.close()
        await self._tables.close()

    async def _search_group(self, queries: Sequence[VectorQuery]) -> list[list[Hit]]:
        """Answer queries that differ only in their vectors, in one call of the engine."""
        first = queries[0]
        async with self._using(first.ns) as table:
            vectors = [checked_vector(q.vector, table.collection.dimensions) for q in queries]
            search = table.engine.query().nearest_to(vectors).distance_type("cosine")
            # Search 20 partitions of an index, and then more without limit (0) until k are found:
            # a filter that few records pass would otherwise miss most of them.
            search = search.minimum_nprobes(20).maximum_nprobes(0)
            search = search.limit(first.k).select(search_columns(table.schema))
            if first.where is not None:
                search = search.where(to_expression(first.where))
            return to_hits(await search.to_arrow(), len(queries))

    async def _read(
        self, ns: Namespace, ids: Sequence[str], limit: int
    ) -> AsyncGenerator[tuple[Record | None, str | None], None]:
        """Yield the first `limit` records, each with the cursor after it: None after all `ids`."""
        for start in range(0, min(limit, len(ids)), SCAN_RECORDS):
            some = ids[start : min(start + SCAN_RECORDS, limit)]
            for id_, record in zip(some, await self.get(ns, some), strict=True):
                yield record, id_ if id_ != ids[-1] else None

    async def _commit(self, ns: Namespace, table: _OpenTable, records: Sequence[Record]) -> None:
        if table.dropped:
            raise ns.not_found()
        rows = await asyncio.to_thread(to_rows, last_wins(records), table.schema)
        merge = table.engine.merge_insert("id").when_matched_update_all()
        await merge.when_not_matched_insert_all().execute(rows)
        await self._acknowledge(ns)

    async def _delete(self, ns: Namespace, table: _OpenTable, condition: Expr) -> int:
        if table.dropped:
            raise ns.not_found()
        deleted = await table.engine.delete(condition)
        await self._acknowledge(ns)
        return int(deleted.num_deleted_rows)  # type: ignore[attr-defined]  # not in its stub

    async def _acknowledge(self, ns: Namespace) -> None:
        await self._tables.flush(self._tables.path(ns))
        self._maintenance.committed(table_name(ns))

    async def _drop(self, ns: Namespace) -> None:
        async with self._changing_catalog, self._using(ns) as table:
            await table.writes.exclusive(lambda: self._remove(ns, table))

    async def _remove(self, ns: Namespace, table: _OpenTable) -> None:
        table.dropped = True
        try:
            # A compaction that ends after the rename would recreate the directory.
            await self._maintenance.stop(table_name(ns))
            await self._tables.drop(ns)
        finally:
            # Until now writes find this table, which refuses them, and open no other.
            self._open.pop(ns, None)

    @contextlib.asynccontextmanager
    async def _using(self, ns: Namespace) -> AsyncIterator[_OpenTable]:
        """Yield the open table, and turn the engine's errors into ours."""
        with storage_full_errors():
            table = await self._table(ns)
            try:
                yield table
            except (RuntimeError, ValueError, OSError):
                if await self._tables.exists(ns):
                    raise
                if self._open.get(ns) is table:
                    del self._open[ns]
                raise ns.not_found() from None

    async def _table(self, ns: Namespace) -> _OpenTable:
        if self._closed:
            raise NotBegun(ENDED)
        if ns not in self._open:
            # One at a time: an open begun before a drop must not end after it with the old table.
            async with self._opening:
                if ns not in self._open:
                    self._open[ns] = await self._opened(ns)
        self._open.move_to_end(ns)
        table = self._open[ns]
        self._close_idle()
        return table

    async def _opened(self, ns: Namespace) -> _OpenTable:
        engine = await self._tables.open(ns)
        schema = await engine.schema()
        table = _OpenTable(engine, schema, collection_of(ns.collection, schema))
        table.writes = GroupCommit(partial(self._commit, ns, table), _MAX_COMMIT_RECORDS)
        return table

    def _close_idle(self) -> None:
        excess = len(self._open) - _OPEN_TABLES
        if excess > 0:
            # A table with writes under way stays: a second write queue would conflict with its own.
            idle = [ns for ns, table in self._open.items() if table.writes.idle]
            for ns in idle[:excess]:
                del self._open[ns]
