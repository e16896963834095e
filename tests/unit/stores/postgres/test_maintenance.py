"""The maintenance's rounds: indexes built once and built again, dropped tables removed."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import psycopg
import pytest

from deployments.stores.base import Namespace
from deployments.stores.postgres.store import PostgresStore
from tests.unit.stores.made import DIMENSIONS, FINGERPRINT, records
from tests.unit.stores.postgres.indexed import (
    DOCUMENTS,
    INDEXED_FLOATS,
    fill,
    generation_of,
    hnsw_indexes,
    recall,
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


async def test_an_index_left_half_built_is_built_again(
    large: PostgresStore, admin: psycopg.Connection, ns: Namespace
) -> None:
    stored = await fill(large, ns)
    generation = generation_of(admin, ns)
    [(name, valid, file)] = hnsw_indexes(admin, generation)
    assert valid
    admin.execute(
        "UPDATE pg_index SET indisvalid = false"
        " WHERE indexrelid = to_regclass('winnow.' || %s::text)",
        [name],
    )
    await large.maintenance.round()
    [(again, valid, new_file)] = hnsw_indexes(admin, generation)
    assert (again, valid) == (name, True)
    assert new_file != file
    assert await recall(large, ns, stored, None, k=10) >= 0.95


async def test_a_worn_index_is_built_again(
    large: PostgresStore, admin: psycopg.Connection, ns: Namespace
) -> None:
    await fill(large, ns)
    generation = generation_of(admin, ns)
    [before] = hnsw_indexes(admin, generation)
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


async def test_the_rounds_end_with_the_store(large: PostgresStore) -> None:
    await large.health()
    before = {task for task in asyncio.all_tasks() if "Maintenance" in repr(task)}
    assert len(before) == 1
    await large.close()
    assert {task for task in asyncio.all_tasks() if "Maintenance" in repr(task)} == set()
