"""PostgreSQL's own behaviour: its checks at the start, its errors, replicas, the count, writes."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from deployments.config import IndexConfig
from deployments.errors import InvalidRequest, NotFound, StageUnavailable, StoreUnavailable
from deployments.index import build_store
from deployments.stores.base import Compare, Namespace, Record, VectorQuery
from deployments.stores.postgres.schema import check_pgvector
from deployments.stores.postgres.store import PostgresStore
from tests.postgres import new_database
from tests.unit.stores.made import DIMENSIONS, FINGERPRINT, count, record, records, unit

EAST = unit(1, 0, 0, 0)


@pytest.fixture
async def replicas(database: str) -> AsyncIterator[tuple[PostgresStore, PostgresStore]]:
    """Two stores on one database, as two replicas of the Index have."""
    one, another = PostgresStore(database), PostgresStore(database)
    yield one, another
    await one.close()
    await another.close()


async def stored(database: str, ns: Namespace) -> list[tuple[str, int]]:
    """Ids and versions of the rows that are there, past the store."""
    async with await psycopg.AsyncConnection.connect(database) as connection:
        query = "SELECT generation FROM winnow.collections WHERE tenant = %s AND name = %s"
        row = await (await connection.execute(query, [ns.tenant, ns.collection])).fetchone()
        assert row is not None
        table = sql.Identifier("winnow", f"docs_{row[0]}")
        select = sql.SQL("SELECT id, xmin::text::bigint FROM {} ORDER BY id").format(table)
        return await (await connection.execute(select)).fetchall()


async def test_an_unreachable_server_is_unavailable(unused_tcp_port: int) -> None:
    store = PostgresStore(f"postgresql://winnow@127.0.0.1:{unused_tcp_port}/winnow")
    ns = Namespace("t", "docs")
    for call in (
        store.ensure(ns, 4, "fp"),
        store.upsert(ns, records(1)),
        store.search([VectorQuery(ns, EAST, 1)]),
        store.health(),
    ):
        with pytest.raises(StageUnavailable):
            await call
    await store.close()


def test_a_pgvector_that_is_too_old_is_refused_and_a_risky_one_warned_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(StageUnavailable, match=r"pgvector is 0\.7\.4, and 0\.8\.0 or newer") as why:
        check_pgvector("0.7.4")
    assert "\n" not in why.value.message
    check_pgvector("0.8.1")
    assert "0.8.4" in caplog.text
    caplog.clear()
    check_pgvector("0.10.0")
    assert caplog.text == ""


async def test_a_user_who_may_not_create_is_told_what_is_missing(postgres_url: str) -> None:
    database = new_database(postgres_url)
    name = psycopg.conninfo.conninfo_to_dict(database)["dbname"]
    with psycopg.connect(database, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE USER {}").format(sql.Identifier(f"u_{name}")))
        store = PostgresStore(make_conninfo(database, user=f"u_{name}"))
        with pytest.raises(StageUnavailable, match="run CREATE EXTENSION vector"):
            await store.health()
        admin.execute("CREATE EXTENSION vector")
        with pytest.raises(StageUnavailable, match="may not create the schema 'winnow'"):
            await store.health()
        admin.execute(
            sql.SQL("GRANT CREATE ON DATABASE {} TO {}").format(
                sql.Identifier(str(name)), sql.Identifier(f"u_{name}")
            )
        )
    assert await store.health() == "fsync"
    await store.close()


async def test_replicas_that_start_at_once_make_one_schema(postgres_url: str) -> None:
    stores = [PostgresStore(new := new_database(postgres_url)), *(PostgresStore(new) for _ in "ab")]
    assert await asyncio.gather(*(store.health() for store in stores)) == ["fsync"] * 3
    await asyncio.gather(*(store.close() for store in stores))


async def test_health_tells_what_a_commit_waits_for(postgres_url: str) -> None:
    database = new_database(postgres_url)
    for options, durability in (
        ("-c synchronous_commit=off", "page-cache"),
        ("-c synchronous_commit=local", "fsync"),
    ):
        store = PostgresStore(make_conninfo(database, options=options))
        assert await store.health() == durability
        await store.close()


async def test_a_connection_that_the_server_ended_is_replaced(
    replicas: tuple[PostgresStore, PostgresStore], database: str, ns: Namespace
) -> None:
    store, _ = replicas
    await store.ensure(ns, DIMENSIONS, FINGERPRINT)
    await store.upsert(ns, records(2))
    with psycopg.connect(database, autocommit=True) as admin:
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'winnow-index' AND datname = current_database()"
        )
    assert await count(store, ns) == 2


async def test_a_collection_dropped_by_another_replica_is_gone_at_once(
    replicas: tuple[PostgresStore, PostgresStore], ns: Namespace
) -> None:
    """Though its row is cached: the table is what is asked."""
    one, another = replicas
    await one.ensure(ns, DIMENSIONS, FINGERPRINT)
    await one.upsert(ns, records(3))
    assert await another.fingerprint(ns) == FINGERPRINT
    await one.drop(ns)
    with pytest.raises(NotFound):
        await another.search([VectorQuery(ns, EAST, 1)])
    with pytest.raises(NotFound):
        await another.upsert(ns, records(1))
    await one.ensure(ns, DIMENSIONS, FINGERPRINT)
    assert await another.fingerprint(ns) == FINGERPRINT
    await one.drop(ns)
    await one.ensure(ns, DIMENSIONS, FINGERPRINT)
    await another.upsert(ns, records(1))
    assert await count(one, ns) == 1


async def test_a_dropped_collection_whose_table_is_in_use_takes_no_write(
    replicas: tuple[PostgresStore, PostgresStore], database: str, ns: Namespace
) -> None:
    """It is there until the search that reads it ends: what was written would be lost."""
    one, another = replicas
    await one.ensure(ns, DIMENSIONS, FINGERPRINT)
    with psycopg.connect(database) as reader:
        query = "SELECT generation FROM winnow.collections WHERE tenant = %s"
        row = reader.execute(query, [ns.tenant]).fetchone()
        assert row is not None
        table = sql.Identifier("winnow", f"docs_{row[0]}")
        reader.execute(sql.SQL("SELECT FROM {}").format(table))
        assert await another.fingerprint(ns) == FINGERPRINT
        dropping = asyncio.create_task(one.drop(ns))
        while (await another.collections(ns.tenant)) != []:
            await asyncio.sleep(0.01)
        with pytest.raises(NotFound):
            await another.upsert(ns, records(1))
        await dropping


async def test_the_count_is_exact_whatever_writes_at_once(
    replicas: tuple[PostgresStore, PostgresStore], database: str, ns: Namespace
) -> None:
    one, another = replicas
    await one.ensure(ns, DIMENSIONS, FINGERPRINT)
    writes = [
        store.upsert(ns, [record(f"d{at}") for at in order])
        for start in range(0, 60, 6)
        for store, order in (
            (one, range(start, start + 20)),
            (another, reversed(range(start, start + 20))),
        )
    ]
    deletes = [store.delete(ns, ids=[f"d{at}" for at in range(50)]) for store in replicas]
    filtered = [store.delete(ns, where=Compare("none", "ne", 1)) for store in replicas]
    await asyncio.gather(*writes[:8], *deletes, *writes[8:12], *filtered, *writes[12:])
    assert await count(one, ns) == len(await stored(database, ns)) > 0


async def test_a_replica_that_is_stuck_amid_a_write_does_not_keep_the_others_from_theirs(
    replicas: tuple[PostgresStore, PostgresStore], ns: Namespace
) -> None:
    stuck, another = replicas
    await stuck.ensure(ns, DIMENSIONS, FINGERPRINT)
    await stuck.upsert(ns, records(3))
    began = asyncio.Event()
    ended = asyncio.Event()

    async def write() -> None:
        async with stuck._connections.transaction() as connection:
            await connection.execute("UPDATE winnow.collections SET documents = documents")
            began.set()
            await ended.wait()
            await connection.execute("SELECT 1")

    writing = asyncio.create_task(write())
    await began.wait()
    async with asyncio.timeout(30):  # by itself it would wait for ever
        await another.upsert(ns, records(5))
    ended.set()
    with pytest.raises(StoreUnavailable):
        await writing
    assert await count(another, ns) == 5


async def test_an_upsert_is_whole_or_not_at_all(
    replicas: tuple[PostgresStore, PostgresStore], ns: Namespace
) -> None:
    store, _ = replicas
    await store.ensure(ns, DIMENSIONS, FINGERPRINT)
    with pytest.raises(InvalidRequest, match="NUL"):
        await store.upsert(ns, [*records(5), record("z", text="a\x00b")])
    assert await count(store, ns) == 0
    assert (await store.scan(ns, None, 10)).records == []


async def test_equal_records_are_not_written_again(
    replicas: tuple[PostgresStore, PostgresStore], database: str, ns: Namespace
) -> None:
    store, _ = replicas
    await store.ensure(ns, DIMENSIONS, FINGERPRINT)
    await store.upsert(ns, records(3))
    before = await stored(database, ns)
    await store.upsert(ns, [*records(2), replace(records(3)[2], tokens=b"new")])
    after = await stored(database, ns)
    assert after[:2] == before[:2]
    assert after[2] != before[2]


@pytest.mark.parametrize(
    "call",
    [
        lambda store, ns: store.get(ns, ["a\x00"]),
        lambda store, ns: store.search([VectorQuery(ns, EAST, 1, Compare("a", "eq", "a\x00"))]),
        lambda store, ns: store.delete(ns, where=Compare("a", "gt", "a\x00")),
        lambda store, ns: store.scan(ns, "a\x00", 1),
    ],
    ids=["id", "value", "range", "cursor"],
)
async def test_a_nul_character_is_the_requests_fault(
    replicas: tuple[PostgresStore, PostgresStore],
    ns: Namespace,
    call: Callable[[PostgresStore, Namespace], Awaitable[object]],
) -> None:
    store, _ = replicas
    await store.ensure(ns, DIMENSIONS, FINGERPRINT)
    with pytest.raises(InvalidRequest, match="NUL"):
        await call(store, ns)


async def test_a_long_value_is_found_by_equality(
    replicas: tuple[PostgresStore, PostgresStore], ns: Namespace
) -> None:
    """An entry of a GIN index may have 2.7 kB."""
    store, _ = replicas
    await store.ensure(ns, DIMENSIONS, FINGERPRINT)
    long = "".join(f"{at}-" for at in range(5_000))
    await store.upsert(ns, [record("l", metadata={"x": long}), record("s", metadata={"x": "s"})])
    [hits] = await store.search([VectorQuery(ns, EAST, 5, Compare("x", "eq", long))])
    assert [hit.record.id for hit in hits] == ["l"]


async def test_the_widest_vectors_and_the_longest_ids(
    replicas: tuple[PostgresStore, PostgresStore], ns: Namespace
) -> None:
    store, _ = replicas
    await store.ensure(ns, 4_096, FINGERPRINT)
    vectors = np.eye(4, 4_096, dtype=np.float32) * 1e-30
    written = [Record(f"{at}" + "é" * 255, "", {}, vectors[at]) for at in range(4)]
    await store.upsert(ns, written)
    [hits] = await store.search([VectorQuery(ns, vectors[2], 1)])
    assert [(hit.record.id, hit.score) for hit in hits] == [(written[2].id, 1.0)]


async def test_the_index_opens_it_by_the_url_in_a_file(tmp_path: Path, postgres_url: str) -> None:
    with pytest.raises(ValueError, match="database_url_file"):
        IndexConfig(engine="postgres")
    file = tmp_path / "url"
    file.write_text(postgres_url.replace("postgresql://", "postgresql+psycopg://") + "\n")
    store = build_store(IndexConfig(engine="postgres", database_url_file=str(file), connections=2))
    assert await store.health() == "fsync"
    await store.close()
