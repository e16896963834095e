"""The control store's database: opened, brought up to date, and nothing about what is in it.

SQLite on one machine, PostgreSQL where several machines share it. The only module that knows the
difference, and the only one that knows Alembic.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, event
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

_MIGRATIONS = Path(__file__).parent / "migrations"
# Any number that nothing else in the database locks; these are the letters 'winnow'.
_MIGRATION_LOCK = 0x77696E6E6F77
_BUSY_MS = 10_000
_PAUSE_MS = 50


def sqlite_url(path: Path) -> str:
    return f"sqlite+aiosqlite:///{path}"


class Database:
    """Made by `open`. `read` and `write` are transactions; `write` takes effect when it ends."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    @classmethod
    async def open(cls, url: str) -> "Database":
        """Connect and migrate; of several processes that open it at once, one does.

        `url` is SQLAlchemy's; a plain `postgresql://` is taken too.
        """
        scheme, separator, rest = url.partition("://")
        if scheme in ("postgres", "postgresql"):
            scheme = "postgresql+psycopg"
        engine = create_async_engine(scheme + separator + rest, pool_pre_ping=True)
        if engine.dialect.name == "sqlite":
            event.listen(engine.sync_engine, "connect", _prepare_sqlite)
            await _write_ahead(engine)
        async with engine.begin() as connection:
            await connection.run_sync(_migrate)
        return cls(engine)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        async with self._engine.connect() as connection:
            yield connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        async with self._engine.begin() as connection:
            yield connection

    async def close(self) -> None:
        await self._engine.dispose()


def _prepare_sqlite(connection: Any, _: object) -> None:
    cursor = connection.cursor()
    # With FULL a change that was answered survives the loss of power, in WAL as well.
    for pragma in (f"busy_timeout={_BUSY_MS}", "synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


async def _write_ahead(engine: AsyncEngine) -> None:
    """Lasts once it is done. SQLite does not wait for another's connection at this, so we do."""
    for left in reversed(range(_BUSY_MS // _PAUSE_MS)):
        try:
            async with engine.connect() as connection:
                await connection.exec_driver_sql("PRAGMA journal_mode=WAL")
            return
        except OperationalError:
            if not left:
                raise
            await asyncio.sleep(_PAUSE_MS / 1000)


def _migrate(connection: Connection) -> None:
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})")
    config = Config()
    # Percent signs are Alembic's own in a path.
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
