"""The store's maintenance: HNSW indexes built and built again, dropped tables removed.

Every replica runs it; an advisory lock keeps two from working on one collection. A collection that
was left out, after a crash or a restore, is found in the next round.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

from psycopg import Error, errors, sql
from psycopg.rows import TupleRow

from deployments.errors import StoreUnavailable
from deployments.stores.postgres.catalog import table_of
from deployments.stores.postgres.connections import Connection, Connections
from deployments.stores.postgres.searches import INDEXED_FLOATS
from deployments.stores.postgres.vectors import indexed

logger = logging.getLogger(__name__)

_ROUND_S = 60.0
# The first of two keys of the advisory locks; the second is a generation's low 31 bits.
_LOCK = 0x77696E6E
# The ceiling of a build's memory: a graph that no longer fits is built many times slower. One
# process builds, since several would need as much of /dev/shm, of which containers have 64 MB.
_SETTINGS = """
    SET maintenance_work_mem = '1GB';
    SET max_parallel_maintenance_workers = 0;
    SET statement_timeout = 0;
"""
_TRASH = "SELECT generation FROM winnow.trash ORDER BY generation"
_LARGE = """
    SELECT generation, dimensions FROM winnow.collections
    WHERE documents * dimensions > %s AND NOT EXISTS (
      SELECT FROM pg_index
      WHERE indexrelid = to_regclass('winnow.docs_' || generation || '_hnsw') AND indisvalid
    )
    ORDER BY generation
"""
# Dead rows take places among a search's candidates. VACUUM of an HNSW index is slower than a new
# index and lowers its recall; after a new index it has nothing to do there.
_WORN = """
    SELECT generation FROM winnow.collections
    JOIN pg_stat_user_tables ON relid = to_regclass('winnow.docs_' || generation)
    WHERE n_dead_tup > 1000 AND n_dead_tup > n_live_tup * 0.1
      AND to_regclass('winnow.docs_' || generation || '_hnsw') IS NOT NULL
    ORDER BY generation
"""
_INVALID = """
    SELECT relname FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
    WHERE indrelid = to_regclass('winnow.docs_' || %s::bigint) AND NOT indisvalid
"""
# Without CONCURRENTLY it would wait for a long dump, and every search for it.
_DROP = sql.SQL("DROP INDEX CONCURRENTLY IF EXISTS {index}")
_BUILD = sql.SQL(
    "CREATE INDEX CONCURRENTLY IF NOT EXISTS {name} ON {table} USING hnsw ({v} halfvec_cosine_ops)"
)
# So that the rounds here come first.
_RARE_VACUUM = sql.SQL("ALTER TABLE {table} SET (autovacuum_vacuum_scale_factor = 0.4)")

# On a collection: its generation, and what else a row of the query holds.
_Work = Callable[..., Awaitable[None]]


class Maintenance:
    """Keeps collections of more than `indexed_floats` (rows times dimensions) indexed."""

    def __init__(self, connections: Connections, indexed_floats: int = INDEXED_FLOATS) -> None:
        self._connections = connections
        self._indexed_floats = indexed_floats
        self._running: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin the rounds, unless they have begun."""
        if self._running is None:
            self._running = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End them; the server abandons an index half built, and a later round drops it."""
        if self._running is not None:
            self._running.cancel()
            with suppress(asyncio.CancelledError):
                await self._running
            self._running = None

    async def round(self) -> None:
        """Remove what was dropped, build what is missing, and rebuild what is worn."""
        tasks: list[tuple[sql.SQL, list[int], _Work]] = [
            (sql.SQL(_TRASH), [], empty_trash),
            (sql.SQL(_LARGE), [self._indexed_floats], _build),
            (sql.SQL(_WORN), [], _rebuild),
        ]
        async with self._connections.alone() as connection:
            await connection.execute(_SETTINGS)
            for query, parameters, work in tasks:
                for row in await _all(connection, query, *parameters):
                    await _work_alone(connection, work, *row)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(_ROUND_S)
            try:
                await self.round()
            except (Error, StoreUnavailable) as error:
                logger.warning("the index's maintenance is put off: %s", error)


async def empty_trash(connection: Connection, generation: int) -> None:
    """Drop the table of a collection that was dropped.

    Raises LockNotAvailable where that would wait for a search or an index build.
    """
    async with connection.transaction():
        await connection.execute("SET LOCAL lock_timeout = '1s'")
        await connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(table_of(generation)))
        await connection.execute("DELETE FROM winnow.trash WHERE generation = %s", [generation])


async def _build(connection: Connection, generation: int, dimensions: int) -> None:
    await _drop_invalid(connection, generation)
    table = table_of(generation)
    await connection.execute(
        _BUILD.format(
            name=sql.Identifier(f"docs_{generation}_hnsw"),
            table=table,
            v=indexed(sql.Identifier("v"), dimensions),
        )
    )
    await connection.execute(_RARE_VACUUM.format(table=table))
    await connection.execute(sql.SQL("ANALYZE {}").format(table))


async def _rebuild(connection: Connection, generation: int) -> None:
    await _drop_invalid(connection, generation)
    index, table = table_of(generation, "_hnsw"), table_of(generation)
    await connection.execute(sql.SQL("REINDEX INDEX CONCURRENTLY {}").format(index))
    await connection.execute(sql.SQL("VACUUM (ANALYZE) {}").format(table))


async def _drop_invalid(connection: Connection, generation: int) -> None:
    """Drop what a round that was stopped left half built: each write would go on writing it."""
    for (left,) in await _all(connection, sql.SQL(_INVALID), generation):
        await connection.execute(_DROP.format(index=sql.Identifier("winnow", left)))


async def _work_alone(connection: Connection, work: _Work, generation: int, *more: int) -> None:
    """Do the work on a collection, unless another replica works on it.

    Its failure is logged, so that the other collections do not wait for as long as it lasts. If
    the connection is lost, the next collection's work raises that.
    """
    keys = [_LOCK, generation % 2**31]
    [(mine,)] = await _all(connection, sql.SQL("SELECT pg_try_advisory_lock(%s, %s)"), *keys)
    if not mine:
        return
    try:
        await work(connection, generation, *more)
    except (errors.LockNotAvailable, errors.UndefinedTable):  # in use, or dropped meanwhile
        pass
    except Error as error:
        logger.warning("the maintenance of collection %d is put off: %s", generation, error)
    finally:
        if not connection.closed:
            await connection.execute("SELECT pg_advisory_unlock(%s, %s)", keys)


async def _all(connection: Connection, query: sql.SQL, *parameters: int) -> list[TupleRow]:
    return await (await connection.execute(query, parameters)).fetchall()
