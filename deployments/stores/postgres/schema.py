"""The database's schema, made at the first start, and what is asked of the server.

winnow.collections  a row for each collection; its documents are in winnow.docs_<generation>
winnow.trash        generations that were dropped, and whose tables may still be there
"""

import logging
from typing import LiteralString

from psycopg import AsyncConnection, errors
from psycopg.rows import TupleRow

from deployments.errors import StoreUnavailable

logger = logging.getLogger(__name__)

_OLDEST_SERVER = 14
# Iterative index scans, without which a filtered search finds too little.
_OLDEST_PGVECTOR = (0, 8, 0)
# Before it, vacuum could damage an index, or fail.
_SOUND_PGVECTOR = (0, 8, 4)
# An advisory lock of our own, one above the control store's.
_LOCK = 0x77696E6E6F78

_TABLES = """
    CREATE SCHEMA IF NOT EXISTS winnow;
    CREATE TABLE winnow.collections (
      generation bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
      tenant text COLLATE "C" NOT NULL,
      name text COLLATE "C" NOT NULL,
      dimensions integer NOT NULL,
      fingerprint text NOT NULL,
      documents bigint NOT NULL DEFAULT 0,
      UNIQUE (tenant, name)
    ) WITH (fillfactor = 50);
    CREATE TABLE winnow.trash (generation bigint PRIMARY KEY);
"""


async def prepare(connection: AsyncConnection[TupleRow]) -> None:
    """Check the server and make the schema; of several replicas that do, one makes it.

    Raises StoreUnavailable that says in one line what is wrong with the server.
    """
    await _check_server(connection)
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        await _check_extension(connection)
        if await _one(connection, "SELECT to_regclass('winnow.trash')") is None:
            try:
                await connection.execute(_TABLES)
            except errors.InsufficientPrivilege as error:
                raise _unfit(
                    "its user may not create the schema 'winnow': GRANT CREATE ON DATABASE to it"
                ) from error


async def _check_server(connection: AsyncConnection[TupleRow]) -> None:
    version = connection.info.server_version // 10_000
    if version < _OLDEST_SERVER:
        raise _unfit(f"the server is PostgreSQL {version}, and {_OLDEST_SERVER} or newer is needed")
    encoding = await _one(connection, "SHOW server_encoding")
    if encoding != "UTF8":
        raise _unfit(f"its encoding is {encoding}, and UTF8 is needed")


async def _check_extension(connection: AsyncConnection[TupleRow]) -> None:
    try:
        await connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
    except errors.InsufficientPrivilege as error:
        raise _unfit(
            "it lacks the extension 'vector', which its user may not create: run CREATE EXTENSION"
            " vector as an administrator"
        ) from error
    except (errors.UndefinedFile, errors.FeatureNotSupported) as error:
        raise _unfit("the server has no pgvector: install its package there") from error
    found = await _one(connection, "SELECT extversion FROM pg_extension WHERE extname = 'vector'")
    check_pgvector(str(found))
    if await _one(connection, "SELECT to_regtype('vector')") is None:
        raise _unfit(
            "the extension 'vector' is in a schema that is not on its user's search_path: add it"
        )


def check_pgvector(found: str) -> None:
    """Warn of a version with known defects.

    Raises StoreUnavailable for one that is too old.
    """
    version = tuple(int(part) for part in found.split("."))
    if version < _OLDEST_PGVECTOR:
        raise _unfit(
            f"its pgvector is {found}, and {_text(_OLDEST_PGVECTOR)} or newer is needed: install it"
            " and run ALTER EXTENSION vector UPDATE"
        )
    if version < _SOUND_PGVECTOR:
        logger.warning(
            "pgvector %s can damage its indexes: install %s or newer", found, _text(_SOUND_PGVECTOR)
        )


def _text(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def _unfit(why: str) -> StoreUnavailable:
    return StoreUnavailable(f"the index's database cannot be used: {why}")


async def _one(connection: AsyncConnection[TupleRow], query: LiteralString) -> object:
    row = await (await connection.execute(query)).fetchone()
    return None if row is None else row[0]
