"""The embedded vector store: LanceDB tables in a local directory, durable when acknowledged.

A table a (tenant, collection), so no filter stands between two tenants. One process writes to a
directory; others may read it. This module knows queries and commits; `lancedb_tables` the
directory, `lancedb_filters` the filters, `lancedb_maintenance` compaction and indexes.
"""

import asyncio
import contextlib
import os
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import pyarrow as pa  # type: ignore[import-untyped]  # ships no annotations
from lancedb.expr import Expr, col, lit
from lancedb.query import ColumnOrdering
from lancedb.table import AsyncTable

from deployments.errors import FingerprintMismatch, NotFound, StageUnavailable, StorageFull
from deployments.stores.base import (
    Collection,
    Durability,
    Filter,
    Hit,
    Maintenance,
    Namespace,
    Page,
    Query,
    Record,
    VectorStore,
)
from deployments.stores.durability import Barrier, is_out_of_space, system_barrier
from deployments.stores.filters import check_filter
from deployments.stores.group_commit import GroupCommit
from deployments.stores.lancedb_filters import one_of, to_expression
from deployments.stores.lancedb_rows import (
    collection_of,
    returned_columns,
    to_hits,
    to_records,
    to_rows,
)
from deployments.stores.lancedb_tables import LanceTables, table_name
from deployments.stores.maintenance_process import MaintenanceProcess
from deployments.stores.records import (
    check_limit,
    check_query,
    check_records,
    checked_vector,
    last_wins,
)

# 66 kB of memory each.
_OPEN_TABLES = 1_024
_MAX_COMMIT_RECORDS = 10_000


@dataclass(slots=True)
class _OpenTable:
    """`dropped` keeps a write that waited through a drop from bringing files of it back."""

    engine: AsyncTable
    schema: pa.Schema
    collection: Collection
    writes: GroupCommit = field(init=False)
    dropped: bool = False


class LanceDBStore(VectorStore):
    """`cache_bytes` bounds the index cache and the metadata cache of the engine, each.

    After `commits_between_maintenance` commits a table is compacted in the background.
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
            with _full_disk_told():
                await self._tables.create(ns, dimensions, fingerprint)
            return True

    async def describe(self, ns: Namespace) -> Collection:
        async with self._using(ns) as table:
            return replace(table.collection, documents=await table.engine.count_rows())

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
        async with self._using(ns) as table:
            doomed = _doomed(ids, where)
            return await table.writes.exclusive(lambda: self._delete(ns, table, doomed))

    async def get(
        self, ns: Namespace, ids: Sequence[str], with_vector: bool = False
    ) -> list[Record | None]:
        async with self._using(ns) as table:
            columns = returned_columns(with_vector)
            rows = await table.engine.query().where(one_of(ids)).select(columns).to_arrow()
            found = {record.id: record for record in to_records(rows)}
            return [found.get(id_) for id_ in ids]

    async def search(self, queries: Sequence[Query]) -> list[list[Hit]]:
        groups: dict[tuple[Namespace, str, int, bool], list[int]] = {}
        for position, query in enumerate(queries):
            check_query(query)
            # By the filter's text, as 1, 1.0 and True are one value to `==`.
            key = (query.ns, repr(query.where), query.k, query.with_vector)
            groups.setdefault(key, []).append(position)
        answers = await asyncio.gather(
            *(self._search_group([queries[at] for at in group]) for group in groups.values())
        )
        hits: list[list[Hit]] = [[] for _ in queries]
        for group, answer in zip(groups.values(), answers, strict=True):
            for position, found in zip(group, answer, strict=True):
                hits[position] = found
        return hits

    async def scan(self, ns: Namespace, cursor: str | None, limit: int) -> Page:
        """In order of id, with vectors. The cursor is the last id of the page."""
        check_limit(limit)
        async with self._using(ns) as table:
            # The ids alone are sorted: sorting whole rows would read every vector for each page.
            query = table.engine.query()
            query = query if cursor is None else query.where(col("id") > lit(cursor))
            ordered = query.order_by([ColumnOrdering(column_name="id")]).limit(limit + 1)
            ids = (await ordered.select(["id"]).to_arrow()).column("id").to_pylist()
            records = await self.get(ns, ids[:limit], with_vector=True)
        more = len(ids) > limit
        return Page([record for record in records if record], ids[limit - 1] if more else None)

    async def count(self, ns: Namespace, where: Filter | None = None) -> int:
        check_filter(where)
        async with self._using(ns) as table:
            if where is None:
                return await table.engine.count_rows()
            matching = table.engine.query().where(to_expression(where)).with_row_id().select([])
            return sum([batch.num_rows async for batch in await matching.to_batches()])

    async def drop(self, ns: Namespace) -> None:
        async with self._changing_catalog, self._using(ns) as table:
            await table.writes.exclusive(lambda: self._drop(ns, table))

    async def maintain(self, ns: Namespace) -> Maintenance:
        async with self._using(ns) as table:
            done = await self._maintenance.run(table_name(ns))
            await table.engine.checkout_latest()  # type: ignore[no-untyped-call]  # unannotated there
            return done

    async def health(self) -> Durability:
        try:
            await self._tables.connect()
            writable = await asyncio.to_thread(os.access, self._tables.directory, os.W_OK)
        except OSError as error:
            raise StageUnavailable("the directory of the index cannot be made") from error
        if not writable:
            raise StageUnavailable("the directory of the index cannot be written to")
        return "fsync"

    async def close(self) -> None:
        for table in self._open.values():
            await table.writes.settle()
            table.engine.close()  # type: ignore[no-untyped-call]  # unannotated there
        self._open.clear()
        await self._maintenance.close()
        await self._tables.close()

    async def _search_group(self, queries: Sequence[Query]) -> list[list[Hit]]:
        """Answer queries alike in all but their vectors, in one call of the engine."""
        first = queries[0]
        async with self._using(first.ns) as table:
            vectors = [checked_vector(q.vector, table.collection.dimensions) for q in queries]
            columns = [*returned_columns(first.with_vector), "_distance"]
            search = table.engine.query().nearest_to(vectors).distance_type("cosine")
            search = search.limit(first.k).select(columns)
            if first.where is not None:
                search = search.where(to_expression(first.where))
            return to_hits(await search.to_arrow(), len(queries))

    async def _commit(self, ns: Namespace, table: _OpenTable, records: Sequence[Record]) -> None:
        if table.dropped:
            raise _not_found(ns)
        rows = await asyncio.to_thread(to_rows, last_wins(records), table.schema)
        merge = table.engine.merge_insert("id").when_matched_update_all()
        await merge.when_not_matched_insert_all().execute(rows)
        await self._acknowledge(ns)

    async def _delete(self, ns: Namespace, table: _OpenTable, doomed: Expr) -> int:
        if table.dropped:
            raise _not_found(ns)
        deleted = await table.engine.delete(doomed)
        await self._acknowledge(ns)
        return int(deleted.num_deleted_rows)  # type: ignore[attr-defined]  # not in its stub

    async def _acknowledge(self, ns: Namespace) -> None:
        await self._tables.flush(self._tables.path(ns))
        self._maintenance.committed(table_name(ns))

    async def _drop(self, ns: Namespace, table: _OpenTable) -> None:
        table.dropped = True
        self._open.pop(ns, None)
        # A compaction that ended after the rename would bring the directory back.
        await self._maintenance.stop(table_name(ns))
        await self._tables.drop(ns)

    @contextlib.asynccontextmanager
    async def _using(self, ns: Namespace) -> AsyncIterator[_OpenTable]:
        """The open table, and the engine's errors in our words."""
        with _full_disk_told():
            table = await self._table(ns)
            try:
                yield table
            except (RuntimeError, ValueError, OSError):
                if await self._tables.exists(ns):
                    raise
                self._open.pop(ns, None)
                raise _not_found(ns) from None

    async def _table(self, ns: Namespace) -> _OpenTable:
        if ns not in self._open:
            engine = await self._tables.open(ns)
            schema = await engine.schema()
            if ns not in self._open:  # else another caller was first
                table = _OpenTable(engine, schema, collection_of(ns.collection, schema))
                table.writes = GroupCommit(partial(self._commit, ns, table), _MAX_COMMIT_RECORDS)
                self._open[ns] = table
        self._open.move_to_end(ns)
        table = self._open[ns]
        self._close_idle()
        return table

    def _close_idle(self) -> None:
        excess = len(self._open) - _OPEN_TABLES
        if excess > 0:
            # One with writes under way stays: a second group of writers would conflict with it.
            idle = [ns for ns, table in self._open.items() if table.writes.idle]
            for ns in idle[:excess]:
                del self._open[ns]


def _not_found(ns: Namespace) -> NotFound:
    return NotFound(f"there is no collection '{ns.collection}'", param="collection")


def _doomed(ids: Sequence[str] | None, where: Filter | None) -> Expr:
    if where is not None and ids is None:
        check_filter(where)
        return to_expression(where)
    if ids is not None and where is None:
        return one_of(ids)
    raise ValueError("delete takes either ids or a filter")


@contextlib.contextmanager
def _full_disk_told() -> Iterator[None]:
    try:
        yield
    except (RuntimeError, OSError) as error:
        if is_out_of_space(error):
            raise StorageFull("the index has no space left") from error
        raise
