"""The catalog of collections: a row for each, with its generation and the count of its documents.

The generation names the collection's table, so a collection that is dropped and created again never
sees the old one's documents, and no tenant's text is ever part of a name. Knows no documents.
"""

import asyncio
import time
from dataclasses import dataclass
from typing import Literal

from psycopg import sql
from psycopg.rows import class_row

from deployments.stores.base import Collection, Namespace
from deployments.stores.postgres.connections import Connection, Connections
from deployments.stores.postgres.failures import CollectionGone

# How long a row is cached; meanwhile another replica may have dropped the collection.
_CACHED_S = 1.0

_SELECT = """
    SELECT generation, name, dimensions, fingerprint, documents, EXISTS (
      SELECT FROM pg_index
      WHERE indexrelid = to_regclass('winnow.docs_' || generation || '_hnsw') AND indisvalid
    ) AS indexed
    FROM winnow.collections
"""
_FIND = sql.SQL(_SELECT + " WHERE tenant = %s AND name = %s")
_OF_TENANT = sql.SQL(_SELECT + " WHERE tenant = %s ORDER BY name")
_ADD = """
    INSERT INTO winnow.collections (tenant, name, dimensions, fingerprint) VALUES (%s, %s, %s, %s)
    ON CONFLICT DO NOTHING RETURNING generation
"""
_CREATE = sql.SQL("""
    CREATE TABLE {table} (
      id text COLLATE "C" PRIMARY KEY,
      body text NOT NULL,
      metadata text NOT NULL,
      tokens bytea,
      v vector({dimensions}) NOT NULL,
      terms text[] COLLATE "C" NOT NULL,
      ranges jsonb NOT NULL
    )
""")
# Long texts move out of the row and the vector stays: else it would be the first to go, being the
# largest, and a scan over vectors stored elsewhere takes four times as long.
_KEEP_VECTOR = sql.SQL("ALTER TABLE {table} ALTER COLUMN v SET STORAGE MAIN")
_CREATE_TERMS = sql.SQL("CREATE INDEX {index} ON {table} USING gin (terms)")


def table_of(generation: int, suffix: Literal["", "_terms", "_hnsw"] = "") -> sql.Identifier:
    """Return the table of a generation's documents, or an index of it."""
    return sql.Identifier("winnow", f"docs_{generation}{suffix}")


@dataclass(frozen=True, slots=True)
class CollectionRow:
    """A collection; `indexed` if it has an HNSW index that is complete."""

    generation: int
    name: str
    dimensions: int
    fingerprint: str
    documents: int
    indexed: bool

    @property
    def table(self) -> sql.Identifier:
        return table_of(self.generation)

    def described(self) -> Collection:
        return Collection(self.name, self.dimensions, self.fingerprint, self.documents)


class Catalog:
    """Finds, adds and removes collections, and caches their rows for a second."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._read: dict[Namespace, tuple[float, CollectionRow]] = {}
        self._reading: dict[Namespace, asyncio.Task[CollectionRow]] = {}

    async def read(self, ns: Namespace) -> CollectionRow:
        """Read the row. Raises NotFound."""
        now_s = time.monotonic()
        async with self._connections.lend() as connection:
            row = await _find(connection, ns)
        if row is None:
            self._read.pop(ns, None)
            raise ns.not_found()
        self._read[ns] = (now_s, row)
        return row

    async def get(self, ns: Namespace) -> CollectionRow:
        """Return the row, at most a second old; concurrent callers share one read.

        Raises NotFound.
        """
        read_s, row = self._read.get(ns, (0.0, None))
        if row is not None and time.monotonic() - read_s < _CACHED_S:
            return row
        if ns not in self._reading:
            self._reading[ns] = asyncio.create_task(self.read(ns))
            self._reading[ns].add_done_callback(lambda _: self._reading.pop(ns))
        # A cancelled caller must not cancel the others' read.
        return await asyncio.shield(self._reading[ns])

    async def add(
        self, ns: Namespace, dimensions: int, fingerprint: str
    ) -> tuple[CollectionRow, bool]:
        """Add a collection unless there is one. Return its row, and whether it was added now."""
        while True:
            async with self._connections.transaction() as connection:
                values = (ns.tenant, ns.collection, dimensions, fingerprint)
                added = await (await connection.execute(_ADD, values)).fetchone()
                if added is not None:
                    await _create(connection, added[0], dimensions)
                row = await _find(connection, ns)
            if row is not None:  # else another replica has dropped it meanwhile
                return row, added is not None

    async def hold(self, connection: Connection, row: CollectionRow) -> None:
        """Keep the collection from being dropped until the transaction's end.

        Raises CollectionGone if it already is.
        """
        query = "SELECT FROM winnow.collections WHERE generation = %s FOR KEY SHARE"
        if await (await connection.execute(query, [row.generation])).fetchone() is None:
            raise CollectionGone

    async def count(self, connection: Connection, row: CollectionRow, more: int) -> None:
        """Add to the count of documents; last in a transaction, since writers wait here."""
        query = "UPDATE winnow.collections SET documents = documents + %s WHERE generation = %s"
        if more:
            await connection.execute(query, [more, row.generation])

    async def remove(self, ns: Namespace) -> int:
        """Remove the row, after the writes under way. Return the generation, now in the trash.

        Raises NotFound.
        """
        query = """
            WITH gone AS (
              DELETE FROM winnow.collections WHERE tenant = %s AND name = %s RETURNING generation
            )
            INSERT INTO winnow.trash SELECT generation FROM gone RETURNING generation
        """
        async with self._connections.transaction() as connection:
            cursor = await connection.execute(query, [ns.tenant, ns.collection])
            removed = await cursor.fetchone()
        self._read.pop(ns, None)
        if removed is None:
            raise ns.not_found()
        return int(removed[0])

    async def of_tenant(self, tenant: str) -> list[CollectionRow]:
        async with (
            self._connections.lend() as connection,
            connection.cursor(row_factory=class_row(CollectionRow)) as cursor,
        ):
            await cursor.execute(_OF_TENANT, [tenant])
            return await cursor.fetchall()


async def _find(connection: Connection, ns: Namespace) -> CollectionRow | None:
    async with connection.cursor(row_factory=class_row(CollectionRow)) as cursor:
        await cursor.execute(_FIND, [ns.tenant, ns.collection])
        return await cursor.fetchone()


async def _create(connection: Connection, generation: int, dimensions: int) -> None:
    table = table_of(generation)
    await connection.execute(_CREATE.format(table=table, dimensions=sql.Literal(dimensions)))
    await connection.execute(_KEEP_VECTOR.format(table=table))
    index = sql.Identifier(f"docs_{generation}_terms")
    await connection.execute(_CREATE_TERMS.format(index=index, table=table))
