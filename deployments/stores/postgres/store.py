"""The vector store in a PostgreSQL with pgvector, which tenants and usage may share.

Each collection has a table of its own, so that no tenant's size is another's latency and no filter
can reach another's documents. Any number of replicas may write. This module does documents;
`catalog` knows the collections, `searches` how a search is done, `maintenance` the indexes.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TypeVar

from psycopg import Error, sql

from deployments.errors import FingerprintMismatch, WinnowError
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
from deployments.stores.postgres.catalog import Catalog, CollectionRow
from deployments.stores.postgres.connections import Connections
from deployments.stores.postgres.failures import CollectionGone
from deployments.stores.postgres.filters import Condition, to_condition
from deployments.stores.postgres.maintenance import Maintenance, empty_trash
from deployments.stores.postgres.rows import READ, UPSERT, to_record, to_row
from deployments.stores.postgres.searches import INDEXED_FLOATS, Search
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

_T = TypeVar("_T")

_CONNECTIONS = 8
_GET = sql.SQL("SELECT {read} FROM {table} WHERE id = ANY(%s::text[])")
_SCAN = sql.SQL("SELECT {read} FROM {table} WHERE {after} ORDER BY id LIMIT %s")
# In order of id, as upserts lock rows: two writers never wait for one another.
_DELETE = sql.SQL("""
    WITH doomed AS (SELECT id FROM {table} WHERE {condition} ORDER BY id FOR UPDATE)
    DELETE FROM {table} AS documents USING doomed WHERE documents.id = doomed.id
""")


class PostgresStore(VectorStore):
    """The VectorStore in the database at `url`, over at most `connections` connections.

    A collection of more than `indexed_floats`, rows times dimensions, gets an HNSW index.
    """

    def __init__(
        self, url: str, *, connections: int = _CONNECTIONS, indexed_floats: int = INDEXED_FLOATS
    ) -> None:
        self._connections = Connections(url, connections)
        self._catalog = Catalog(self._connections)
        self._indexed_floats = indexed_floats
        self.maintenance = Maintenance(self._connections, indexed_floats)

    async def ensure(self, ns: Namespace, dimensions: int, fingerprint: str) -> bool:
        row, created = await self._catalog.add(ns, dimensions, fingerprint)
        if (row.dimensions, row.fingerprint) != (dimensions, fingerprint):
            raise FingerprintMismatch.between(ns.collection, row.fingerprint, fingerprint)
        return created

    async def describe(self, ns: Namespace) -> Collection:
        return (await self._catalog.read(ns)).described()

    async def fingerprint(self, ns: Namespace) -> str:
        return (await self._catalog.get(ns)).fingerprint

    async def collections(self, tenant: str) -> list[Collection]:
        return [row.described() for row in await self._catalog.of_tenant(tenant)]

    async def upsert(
        self, ns: Namespace, records: Sequence[Record], fingerprint: str | None = None
    ) -> None:
        """Write all records in one transaction: all of them or none."""

        async def write(row: CollectionRow) -> None:
            check_records(records, row.dimensions)
            # In order of id, so that two writers of the same documents never wait for one another.
            written = sorted(last_wins(records), key=lambda record: record.id)
            values = [to_row(record, row.dimensions) for record in written]
            async with self._connections.transaction() as connection:
                await self._catalog.hold(connection, row)
                cursor = connection.cursor()
                await cursor.executemany(UPSERT.format(table=row.table), values, returning=True)
                inserted = [await result.fetchone() async for result in cursor.results()]
                await self._catalog.count(connection, row, inserted.count((True,)))

        self.maintenance.start()
        await self._with_collection(ns, write, fingerprint)

    async def delete(
        self, ns: Namespace, ids: Sequence[str] | None = None, where: Filter | None = None
    ) -> int:
        check_delete_target(ids, where)
        condition = to_condition(where)
        if ids is not None:
            condition = Condition(sql.SQL("id = ANY(%s::text[])"), (list(ids),))

        async def erase(row: CollectionRow) -> int:
            query = _DELETE.format(table=row.table, condition=condition.sql)
            async with self._connections.transaction() as connection:
                await self._catalog.hold(connection, row)
                deleted = (await connection.execute(query, condition.parameters)).rowcount
                await self._catalog.count(connection, row, -deleted)
            return deleted

        return await self._with_collection(ns, erase)

    async def get(self, ns: Namespace, ids: Sequence[str]) -> list[Record | None]:
        async def read(row: CollectionRow) -> dict[str, Record]:
            query = _GET.format(read=READ, table=row.table)
            async with self._connections.lend() as connection:
                rows = await (await connection.execute(query, [list(ids)])).fetchall()
            return {record.id: record for record in map(to_record, rows)}

        found = await self._with_collection(ns, read)
        return [found.get(id_) for id_ in ids]

    async def search(self, queries: Sequence[VectorQuery]) -> list[list[Hit]]:
        """Search over several connections at a time: faster than all in one statement."""
        for query in queries:
            check_query(query)
        return await asyncio.gather(*map(self._search, queries))

    async def scan(self, ns: Namespace, cursor: str | None, limit: int) -> Page:
        """Scan in order of id. The cursor is the last id of the page."""
        check_limit(limit)
        return await self._with_collection(
            ns, lambda row: fill_page(self._read(row, cursor, limit))
        )

    async def drop(self, ns: Namespace) -> None:
        """Drop the collection; its table goes at once, or once no search uses it."""
        generation = await self._catalog.remove(ns)
        self.maintenance.start()
        with suppress(WinnowError, Error):  # whatever keeps it there, a later round tries again
            async with self._connections.lend() as connection:
                await empty_trash(connection, generation)

    async def health(self) -> Durability:
        """Return "replicated" where a commit waits for a standby, as far as the server says."""
        query = """
            SELECT current_setting('fsync') = 'on',
              current_setting('synchronous_commit') != 'off',
              current_setting('synchronous_commit') NOT IN ('off', 'local')
                AND current_setting('synchronous_standby_names') != ''
        """
        self.maintenance.start()
        async with self._connections.lend() as connection:
            said = await (await connection.execute(query)).fetchone()
        fsync, waits, replicated = said or (False, False, False)
        if replicated:
            return "replicated"
        return "fsync" if fsync and waits else "page-cache"

    async def close(self) -> None:
        await self.maintenance.stop()
        await self._connections.close()

    async def _search(self, query: VectorQuery) -> list[Hit]:
        async def run(row: CollectionRow) -> list[Hit]:
            search = Search.of(row, query, self._indexed_floats)
            async with self._connections.lend() as connection:
                return await search.run(connection)

        return await self._with_collection(query.ns, run, query.fingerprint)

    async def _read(
        self, row: CollectionRow, cursor: str | None, limit: int
    ) -> AsyncGenerator[tuple[Record, str | None], None]:
        """Yield up to `limit` records after `cursor`, each with the cursor to the next."""
        left = limit
        while left > 0:
            size = min(left, SCAN_RECORDS)
            after = sql.SQL("true") if cursor is None else sql.SQL("id > %s")
            query = _SCAN.format(read=READ, table=row.table, after=after)
            parameters = [size + 1] if cursor is None else [cursor, size + 1]
            async with self._connections.lend() as connection:
                rows = await (await connection.execute(query, parameters)).fetchall()
            found = list(map(to_record, rows[:size]))
            for at, record in enumerate(found, start=1):
                cursor = record.id if at < len(rows) else None
                yield record, cursor
            left = 0 if cursor is None else left - size

    async def _with_collection(
        self,
        ns: Namespace,
        use: Callable[[CollectionRow], Awaitable[_T]],
        fingerprint: str | None = None,
    ) -> _T:
        """Run `use` on the collection, again if it was dropped and created since it was read.

        Raises NotFound, and FingerprintMismatch if it was created for another model than that of
        `fingerprint`.
        """
        for read in (self._catalog.get, self._catalog.read):
            row = await read(ns)
            check_fingerprint(ns, row.fingerprint, fingerprint)
            with suppress(CollectionGone):
                return await use(row)
        raise ns.not_found()
