"""The control store under test, on SQLite and on PostgreSQL."""

import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine

from deployments.tenants.store.database import Database, sqlite_url
from deployments.tenants.store.registry import Registry
from tests.postgres import postgres_url

__all__ = ["postgres_url"]

NOW = 1_000_000.0


@pytest.fixture(params=["sqlite", "postgres"])
async def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database."""
    if request.param == "sqlite":
        return sqlite_url(tmp_path / "control.db")
    server = make_url(request.getfixturevalue("postgres_url")).set(drivername="postgresql+psycopg")
    name = f"winnow_{uuid.uuid4().hex}"
    engine = create_async_engine(server, isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        await connection.execute(text(f"CREATE DATABASE {name}"))
    await engine.dispose()
    return server.set(drivername="postgresql", database=name).render_as_string(hide_password=False)


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    database = await Database.open(url)
    yield database
    await database.close()


@pytest.fixture
def now() -> list[float]:
    """The clock's time, for a test to set."""
    return [NOW]


@pytest.fixture
def registry(database: Database, now: list[float]) -> Registry:
    return Registry(database, lambda: now[0])
