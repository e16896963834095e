"""The database: migrations create exactly the tables of `tables`, and run once."""

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, make_url, text
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.ext.asyncio import create_async_engine

from deployments.errors import StageUnavailable
from deployments.tenants.store.database import Database, connection_fault, sqlite_url
from deployments.tenants.store.tables import metadata


async def test_migrations_create_the_tables(database: Database) -> None:
    def differences(connection: Connection) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(connection), metadata))

    async with database.read() as connection:
        assert await connection.run_sync(differences) == []


async def test_a_database_opens_again_unchanged(database: Database, url: str) -> None:
    async with database.write() as connection:
        await connection.execute(text("UPDATE revision SET number = 7"))
    again = await Database.open(url)
    async with again.read() as connection:
        assert await connection.scalar(text("SELECT number FROM revision")) == 7
    await again.close()


async def test_a_change_survives_the_loss_of_power(database: Database) -> None:
    async with database.read() as connection:
        if connection.dialect.name == "sqlite":
            assert await connection.scalar(text("PRAGMA journal_mode")) == "wal"
            assert await connection.scalar(text("PRAGMA synchronous")) == 2
        else:
            assert await connection.scalar(text("SHOW synchronous_commit")) == "on"


async def test_a_failed_transaction_changes_nothing(database: Database) -> None:
    try:
        async with database.write() as connection:
            await connection.execute(text("UPDATE revision SET number = 7"))
            raise ValueError
    except ValueError:
        pass
    async with database.read() as connection:
        assert await connection.scalar(text("SELECT number FROM revision")) == 0


async def test_a_database_that_is_away_is_a_503(database: Database) -> None:
    engine = database._engine
    database._engine = create_async_engine(sqlite_url(Path("/no such folder/control.db")))
    for transaction in (database.read, database.write):
        with pytest.raises(StageUnavailable, match="does not answer") as away:
            async with transaction() as connection:
                await connection.execute(text("SELECT number FROM revision"))
        assert away.value.retry_after_s
        assert isinstance(away.value.__cause__, OperationalError)
    await database.close()
    database._engine = engine


async def test_a_connection_that_is_lost_within_a_transaction_is_a_503(database: Database) -> None:
    for transaction in (database.read, database.write):
        with pytest.raises(StageUnavailable):
            async with transaction():
                raise ConnectionResetError


async def test_what_is_wrong_in_a_statement_is_no_503(database: Database) -> None:
    with pytest.raises(IntegrityError):
        async with database.write() as connection:
            await connection.execute(text("INSERT INTO revision SELECT * FROM revision"))


async def test_a_database_that_can_be_opened_has_no_fault(url: str) -> None:
    assert await connection_fault(url) is None
    if url.startswith("postgresql"):
        missing = make_url(url).set(database="not_there").render_as_string(hide_password=False)
        assert 'database "not_there" does not exist' in str(await connection_fault(missing))
