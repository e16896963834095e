"""The embedded vector store: LanceDB tables in a local directory, durable when acknowledged.

Each (tenant, collection) is a table of its own, so tenants are not separated by a filter alone. One
process writes to a directory; others may read it. This module does queries and commits; `tables`
and `open_tables` know the directory, `filters` the filters, `maintenance` compaction and indexes.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from lancedb.expr import Expr, col, lit
from lancedb.query import ColumnOrdering

from deployments.errors import (
    FingerprintMismatch,
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
from deployments.stores.lancedb.durability import Barrier, storage_full_errors, system_barrier
from deployments.stores.lancedb.filters import one_of, to_expression
from deployments.stores.lancedb.group_commit import GroupCommit
from deployments.stores.lancedb.maintenance_process import MaintenancePolicy, MaintenanceProcess
from deployments.stores.lancedb.open_tables import OpenTable, OpenTables
from deployments.stores.lancedb.rows import RETURNED, to_records, to_rows
from deployments.stores.lancedb.searches import nearest
from deployments.stores.lancedb.tables import LanceTables, table_name
from deployments.stores.records import (
    SCAN_RECORDS,
    check_delete_target,
    check_fingerprint,
    check_limit,
    check_query,
    check_records,
    fill_page,
    last_wins,
)

_MAX_COMMIT_RECORDS = 10_000

Result = TypeVar("Result")


class LanceDBStore(VectorStore):
    """The VectorStore over `directory`; `maintenance` says when a table is compacted."""

    def __init__(
        self,
        directory: Path,
        *,
        maintenance: MaintenancePolicy | None = None,
        barrier: Barrier | None = None,
    ) -> None:
        self._tables = LanceTables(directory, barrier or system_barrier())
        self._maintenance = MaintenanceProcess(directory, maintenance or MaintenancePolicy())
        self._open = OpenTables(self._tables, self._prepare)
        self._changing_catalog = asyncio.Lock()

    async def ensure(self, ns: Namespace, dimensions: int, fingerprint: str) -> bool:
        async with self._changing_catalog:
            if not await self._tables.exists(ns):
                self._open.forget(ns)
            with contextlib.suppress(NotFound):
                existing = (await self._open.get(ns)).collection
                if (existing.dimensions, existing.fingerprint) != (dimensions, fingerprint):
                    raise FingerprintMismatch.between(
                        ns.collection, existing.fingerprint, fingerprint
                    )
                return False
            with storage_full_errors():
                await self._tables.create(ns, dimensions, fingerprint)
            return True

    async def describe(self, ns: Namespace) -> Collection:
        async with self._open.using(ns) as table:
            return replace(table.collection, documents=await table.count())

    async def fingerprint(self, ns: Namespace) -> str:
        async with self._open.using(ns) as table:
            return table.collection.fingerprint

    async def collections(self, tenant: str) -> list[Collection]:
        found = []
        async for ns in self._tables.of_tenant(tenant):
            with contextlib.suppress(NotFound):  # dropped since it was listed
                found.append(await self.describe(ns))
        return sorted(found, key=lambda collection: collection.name)

    async def upsert(
        self, ns: Namespace, records: Sequence[Record], fingerprint: str | None = None
    ) -> None:
        async with self._open.using(ns) as table:
            check_fingerprint(ns, table.collection.fingerprint, fingerprint)
            check_records(records, table.collection.dimensions)
            if records:
                await table.writes.upsert(records)

    async def delete(
        self, ns: Namespace, ids: Sequence[str] | None = None, where: Filter | None = None
    ) -> int:
        check_delete_target(ids, where)
        condition = one_of(ids or ()) if where is None else to_expression(where)
        async with self._open.using(ns) as table:
            return await table.writes.exclusive(lambda: self._delete(ns, table, condition))

    async def get(self, ns: Namespace, ids: Sequence[str]) -> list[Record | None]:
        rows = await self._reading(
            ns, lambda table: table.engine.query().where(one_of(ids)).select(RETURNED).to_arrow()
        )
        found = {record.id: record for record in to_records(rows)}
        return [found.get(id_) for id_ in ids]

    async def search(self, queries: Sequence[VectorQuery]) -> list[list[Hit]]:
        groups: dict[tuple[Namespace, str | None, str, int], list[int]] = {}
        for position, query in enumerate(queries):
            check_query(query)
            # Filters are compared as text, because 1, 1.0 and True are equal by `==`.
            key = (query.ns, query.fingerprint, repr(query.where), query.k)
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
        """Scan in order of id. The cursor is the last id of the page."""
        check_limit(limit)

        async def next_ids(table: OpenTable) -> list[str]:
            # Only ids are sorted: sorting rows would read every vector for each page.
            query = table.engine.query()
            query = query if cursor is None else query.where(col("id") > lit(cursor))
            ordered = query.order_by([ColumnOrdering(column_name="id")]).limit(limit + 1)
            ids: list[str] = (await ordered.select(["id"]).to_arrow()).column("id").to_pylist()
            return ids

        ids = await self._reading(ns, next_ids)
        return await fill_page(self._read(ns, ids, limit))

    async def drop(self, ns: Namespace) -> None:
        """Drop the collection; a cancelled caller does not cancel that."""
        await asyncio.shield(asyncio.create_task(self._drop(ns)))

    async def health(self) -> Durability:
        try:
            await self._tables.connect()
            writable = await asyncio.to_thread(os.access, self._tables.directory, os.W_OK)
        except OSError as error:
            raise StoreUnavailable(
                f"the directory of the index cannot be created: {error.strerror}"
            ) from error
        if not writable:
            raise StoreUnavailable("the directory of the index cannot be written to")
        return "fsync"

    async def close(self) -> None:
        await self._maintenance.close()
        await self._open.close()
        await self._tables.close()

    async def _search_group(self, queries: Sequence[VectorQuery]) -> list[list[Hit]]:
        """Answer queries that differ only in their vectors, in one call of the engine."""
        return await self._reading(queries[0].ns, lambda table: nearest(table, queries))

    async def _reading(
        self, ns: Namespace, read: Callable[[OpenTable], Awaitable[Result]]
    ) -> Result:
        """Read the table; once more, at its newest version, if this one was pruned meanwhile."""
        async with self._open.using(ns) as table:
            try:
                return await read(table)
            except (RuntimeError, OSError) as error:
                if "not found" not in str(error).lower():
                    raise
            await table.engine.checkout_latest()  # type: ignore[no-untyped-call]  # unannotated there
            return await read(table)

    async def _read(
        self, ns: Namespace, ids: Sequence[str], limit: int
    ) -> AsyncGenerator[tuple[Record | None, str | None], None]:
        """Yield the first `limit` records, each with the cursor after it: None after all `ids`."""
        for start in range(0, min(limit, len(ids)), SCAN_RECORDS):
            some = ids[start : min(start + SCAN_RECORDS, limit)]
            for id_, record in zip(some, await self.get(ns, some), strict=True):
                yield record, id_ if id_ != ids[-1] else None

    async def _commit(self, ns: Namespace, table: OpenTable, records: Sequence[Record]) -> None:
        if table.dropped:
            raise ns.not_found()
        rows = await asyncio.to_thread(to_rows, last_wins(records), table.schema)
        merge = table.engine.merge_insert("id").when_matched_update_all()
        try:
            await merge.when_not_matched_insert_all().execute(rows)
        finally:
            table.written()
        await self._acknowledge(ns, len(records))

    async def _delete(self, ns: Namespace, table: OpenTable, condition: Expr) -> int:
        if table.dropped:
            raise ns.not_found()
        try:
            deleted = await table.engine.delete(condition)
        finally:
            table.written()
        await self._acknowledge(ns, 0)
        return int(deleted.num_deleted_rows)  # type: ignore[attr-defined]  # not in its stub

    async def _acknowledge(self, ns: Namespace, records: int) -> None:
        await self._tables.flush(self._tables.path(ns))
        self._maintenance.committed(table_name(ns), records)

    async def _drop(self, ns: Namespace) -> None:
        async with self._changing_catalog, self._open.using(ns) as table:
            await table.writes.exclusive(lambda: self._remove(ns, table))

    async def _remove(self, ns: Namespace, table: OpenTable) -> None:
        table.dropped = True
        try:
            # A compaction that ends after the rename would recreate the directory.
            await self._maintenance.stop(table_name(ns))
            await self._tables.drop(ns)
        finally:
            # Until now writes find this table, which refuses them, and open no other.
            self._open.forget(ns)

    async def _prepare(self, ns: Namespace, table: OpenTable) -> None:
        table.writes = GroupCommit(partial(self._commit, ns, table), _MAX_COMMIT_RECORDS)
        files = await self._tables.data_files(ns)
        self._maintenance.opened(table_name(ns), files, partial(self._held, ns))

    @contextlib.asynccontextmanager
    async def _held(self, ns: Namespace) -> AsyncIterator[None]:
        """Let no write to the collection run inside the context. Raises NotFound.

        By the table that is open then: its schedule outlives it, and must not keep it in memory.
        """
        async with self._open.using(ns) as table, table.writes.held():
            yield
