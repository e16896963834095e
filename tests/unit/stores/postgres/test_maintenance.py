"""The maintenance's rounds: indexes built once and built again, dropped tables removed."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import psycopg
import pytest

from deployments.stores.base import Namespace, VectorQuery
from deployments.stores.postgres import maintenance
from deployments.stores.postgres.connections import Connection
from deployments.stores.postgres.store import PostgresStore
from tests.unit.stores.made import DIMENSIONS, FINGERPRINT, records
from tests.unit.stores.postgres.indexed import (
    DOCUMENTS,
    INDEXED_FLOATS,
    fill,
    generation_of,
    hnsw_indexes,
    recall,
    vectors,
)


@pytest.fixture
async def large(database: str) -> AsyncIterator[PostgresStore]:
    store = PostgresStore(database, indexed_floats=INDEXED_FLOATS)
    yield store
    await store.close()


@pytest.fixture
def admin(database: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database, autocommit=True) as connection:
        yield connection


async def test_a_small_collection_has_no_index(
    large: PostgresStore, admin: psycopg.Connection, ns: Namespace
) -> None:
    await large.ensure(ns, DIMENSIONS, FINGERPRINT)
    await large.upsert(ns, records(INDEXED_FLOATS // DIMENSIONS))
    await large.maintenance.round()
    assert hnsw_indexes(admin, generation_of(admin, ns)) == []


async def test_two_replicas_build_one_index(
    large: PostgresStore, database: str, admin: psycopg.Connection, ns: Namespace
) -> None:
    another = PostgresStore(database, indexed_floats=INDEXED_FLOATS)
    await large.ensure(ns, DIMENSIONS, FINGERPRINT)
    await large.upsert(ns, [*records(100), *records(1_000)])
    await asyncio.gather(*(store.maintenance.round() for store in (large, another, large)))
    generation = generation_of(admin, ns)
    assert [row[:2] for row in hnsw_indexes(admin, generation)] == [
        (f"docs_{generation}_hnsw", True)
    ]
    await another.close()


def invalidate(admin: psycopg.Connection, index: str) -> None:
    """Make the index look as one whose build was stopped."""
    admin.execute(
        "UPDATE pg_index SET indisvalid = false"
        " WHERE indexrelid = to_regclass('winnow.' || %s::text)",
        [index],
    )


async def test_an_index_left_half_built_is_built_again(
    large: PostgresStore, admin: psycopg.Connection, ns: Namespace
) -> None:
    stored = await fill(large, ns)
    generation = generation_of(admin, ns)
    [(name, valid, file)] = hnsw_indexes(admin, generation)
    assert valid
    invalidate(admin, name)
    await large.maintenance.round()
    [(again, valid, new_file)] = hnsw_indexes(admin, generation)
    assert (again, valid) == (name, True)
    assert new_file != file
    assert await recall(large, ns, stored, None, k=10) >= 0.95


async def test_a_search_does_not_wait_until_what_was_half_built_can_be_dropped(
    large: PostgresStore, database: str, admin: psycopg.Connection, ns: Namespace
) -> None:
    """A dump reads the table, for hours perhaps; what is to be dropped waits for its end."""
    await fill(large, ns)
    generation = generation_of(admin, ns)
    with psycopg.connect(database) as dump:
        dump.execute(f"SELECT count(*) FROM winnow.docs_{generation}".encode())
        invalidate(admin, f"docs_{generation}_hnsw")
        waiting = asyncio.create_task(large.maintenance.round())
        await asyncio.sleep(0.5)
        async with asyncio.timeout(5):
            await large.search([VectorQuery(ns, vectors(1, seed=3)[0], 1)])
        assert not waiting.done()
    await waiting
    [(_, valid, _)] = hnsw_indexes(admin, generation)
    assert valid


async def test_a_worn_index_is_built_again_and_what_a_stopped_round_left_is_gone(
    large: PostgresStore, admin: psycopg.Connection, ns: Namespace
) -> None:
    await fill(large, ns)
    generation = generation_of(admin, ns)
    [before] = hnsw_indexes(admin, generation)
    left = f"docs_{generation}_hnsw_ccnew"
    admin.execute(
        f"CREATE INDEX {left} ON winnow.docs_{generation}"
        " USING hnsw ((v::halfvec(16)) halfvec_cosine_ops)".encode()
    )
    invalidate(admin, left)
    await large.delete(ns, ids=[f"d{at}" for at in range(DOCUMENTS // 2)])
    await large.close()  # a connection that stays open reports late
    dead = "SELECT n_dead_tup FROM pg_stat_user_tables WHERE relname = %s"
    for _ in range(100):  # until the server has counted them
        [(count,)] = admin.execute(dead, [f"docs_{generation}"]).fetchall()
        if count >= DOCUMENTS // 2:
            break
        await asyncio.sleep(0.1)
    await large.maintenance.round()
    [after] = hnsw_indexes(admin, generation)
    assert after[:2] == before[:2]
    assert after[2] != before[2]
    assert admin.execute(dead, [f"docs_{generation}"]).fetchone() == (0,)


async def test_a_table_in_use_is_dropped_later(
    large: PostgresStore, database: str, admin: psycopg.Connection, ns: Namespace
) -> None:
    await large.ensure(ns, DIMENSIONS, FINGERPRINT)
    table = f"winnow.docs_{generation_of(admin, ns)}"
    there = "SELECT to_regclass(%s) IS NOT NULL"
    with psycopg.connect(database) as reader:
        reader.execute(f"SELECT count(*) FROM {table}".encode())
        await large.drop(ns)
        assert await large.collections(ns.tenant) == []
        await large.maintenance.round()
        assert admin.execute(there, [table]).fetchone() == (True,)
    await large.maintenance.round()
    assert admin.execute(there, [table]).fetchone() == (False,)
    assert admin.execute("SELECT FROM winnow.trash").fetchall() == []


async def test_a_collection_that_fails_does_not_keep_the_others_from_their_turn(
    large: PostgresStore,
    admin: psycopg.Connection,
    ns: Namespace,
    other: Namespace,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nor its tenant from dropping it: it is gone, though its table stays."""
    await large.ensure(ns, DIMENSIONS, FINGERPRINT)
    table = f"winnow.docs_{generation_of(admin, ns)}"
    admin.execute(f"CREATE VIEW winnow.peek AS SELECT id FROM {table}".encode())
    await large.drop(ns)
    assert await large.collections(ns.tenant) == []
    await fill(large, other)  # with a round
    assert [valid for _, valid, _ in hnsw_indexes(admin, generation_of(admin, other))] == [True]
    assert table.removeprefix("winnow.") in caplog.text
    admin.execute("DROP VIEW winnow.peek")
    await large.maintenance.round()
    assert admin.execute("SELECT to_regclass(%s) IS NULL", [table]).fetchone() == (True,)


async def test_a_round_ends_with_its_connection(
    large: PostgresStore, admin: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await large.health()
    admin.execute("INSERT INTO winnow.trash VALUES (-1), (-2)")
    tried = []

    async def fail(connection: Connection, generation: int) -> None:
        tried.append(generation)
        await connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    monkeypatch.setattr(maintenance, "empty_trash", fail)
    with pytest.raises(psycopg.OperationalError):
        await large.maintenance.round()
    assert tried == [-2]
    admin.execute("DELETE FROM winnow.trash")


async def test_the_rounds_end_with_the_store(large: PostgresStore) -> None:
    await large.health()
    before = {task for task in asyncio.all_tasks() if "Maintenance" in repr(task)}
    assert len(before) == 1
    await large.close()
    assert {task for task in asyncio.all_tasks() if "Maintenance" in repr(task)} == set()
