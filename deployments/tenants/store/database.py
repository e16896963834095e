"""The control store's database: connections, transactions and schema migrations.

SQLite on one machine, PostgreSQL where several machines share it. Knows no table. The only module
that runs Alembic.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, event
from sqlalchemy.exc import (
    DBAPIError,
    InterfaceError,
    InternalError,
    OperationalError,
    SQLAlchemyError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from deployments.errors import StageUnavailable

_MIGRATIONS = Path(__file__).parent / "migrations"
# An advisory lock of our own: the letters 'winnow'.
_MIGRATION_LOCK = 0x77696E6E6F77
_BUSY_MS = 10_000
_PAUSE_MS = 50
# What a database that is away, full, busy or read-only raises. The others (a statement that is
# wrong, a constraint) are defects of ours: a retry does not help, and their traceback is wanted.
_AWAY = (OperationalError, InterfaceError, InternalError, PoolTimeout, OSError)


def sqlite_url(path: Path) -> str:
    return f"sqlite+aiosqlite:///{path}"


class Database:
    """Create it with `open`. `read` and `write` are transactions; `write` commits when it exits.
    Both raise StageUnavailable while the database is away or refuses."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    @classmethod
    async def open(cls, url: str) -> "Database":
        """Connect and migrate. Of several processes that open it at once, one migrates.

        `url` is SQLAlchemy's; a plain `postgresql://` is accepted too.
        """
        engine = create_async_engine(_with_driver(url), pool_pre_ping=True)
        if engine.dialect.name == "sqlite":
            event.listen(engine.sync_engine, "connect", _prepare_sqlite)
            await _enable_wal(engine)
        async with engine.begin() as connection:
            await connection.run_sync(_migrate)
        return cls(engine)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        with _as_unavailable():
            async with self._engine.connect() as connection:
                yield connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        with _as_unavailable():
            async with self._engine.begin() as connection:
                yield connection

    async def close(self) -> None:
        await self._engine.dispose()


@contextmanager
def _as_unavailable() -> Iterator[None]:
    try:
        yield
    except _AWAY as error:
        raise StageUnavailable(
            "the database of tenants, keys and usage does not answer: try again shortly"
        ) from error


async def connection_fault(url: str, timeout_s: float = 5.0) -> str | None:
    """Connect once, and change nothing. Return what is wrong in one line, without the URL, which
    has a password in it; None if nothing is."""
    try:
        engine = create_async_engine(_with_driver(url))
    except (SQLAlchemyError, ImportError, ValueError):
        return "no database's URL such as postgresql://user:password@host:5432/name"
    try:
        async with asyncio.timeout(timeout_s), engine.connect():
            return None
    except DBAPIError as error:
        return " ".join(str(error.orig).split())
    except TimeoutError:
        return f"the database does not answer within {timeout_s:g} s"
    except (SQLAlchemyError, OSError) as error:
        return f"the database cannot be opened ({type(error).__name__})"
    finally:
        await engine.dispose()


def _with_driver(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    if scheme in ("postgres", "postgresql"):
        scheme = "postgresql+psycopg"
    return scheme + separator + rest


def _prepare_sqlite(connection: Any, _: object) -> None:
    cursor = connection.cursor()
    # In WAL mode only FULL keeps an acknowledged change through a loss of power.
    for pragma in (f"busy_timeout={_BUSY_MS}", "synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


async def _enable_wal(engine: AsyncEngine) -> None:
    """Set write-ahead logging, which the file remembers.

    SQLite's busy timeout does not apply to this pragma, so a locked file is tried again here.
    """
    for attempts_left in reversed(range(_BUSY_MS // _PAUSE_MS)):
        try:
            async with engine.connect() as connection:
                await connection.exec_driver_sql("PRAGMA journal_mode=WAL")
            return
        except OperationalError:
            if not attempts_left:
                raise
            await asyncio.sleep(_PAUSE_MS / 1000)


def _migrate(connection: Connection) -> None:
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})")
    config = Config()
    # Alembic interpolates percent signs.
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
