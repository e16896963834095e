"""Searches of an indexed collection: recall, with filters too, and when the index is read."""

from collections.abc import AsyncIterator

import numpy as np
import psycopg
import pytest
from numpy.typing import NDArray
from psycopg.conninfo import make_conninfo
from psycopg.rows import TupleRow

from deployments.errors import PayloadTooLarge
from deployments.stores.base import Compare, Filter, Namespace, Record, VectorQuery
from deployments.stores.postgres import searches
from deployments.stores.postgres.rows import bytes_of
from deployments.stores.postgres.searches import Search
from deployments.stores.postgres.store import PostgresStore
from tests.unit.stores.postgres.indexed import (
    DOCUMENTS,
    HALF,
    INDEXED_FLOATS,
    NEARLY_ALL,
    ONE_IN_A_HUNDRED,
    WIDTH,
    fill,
    generation_of,
    index_scans,
    recall,
    vectors,
)


def _eager(database: str) -> str:
    """Have the planner take an index where a query can use one, though the collection is small."""
    return make_conninfo(database, options="-c enable_seqscan=off -c enable_bitmapscan=off")


@pytest.fixture
async def indexed_store(database: str) -> AsyncIterator[PostgresStore]:
    store = PostgresStore(_eager(database), indexed_floats=INDEXED_FLOATS)
    yield store
    await store.close()


@pytest.fixture
async def stored(indexed_store: PostgresStore, ns: Namespace) -> NDArray[np.float32]:
    return await fill(indexed_store, ns)


@pytest.mark.parametrize(
    ("where", "reads_the_index"),
    [(None, True), (HALF, True), (NEARLY_ALL, True), (ONE_IN_A_HUNDRED, False)],
    ids=["all", "half", "nearly-all", "one-in-a-hundred"],
)
async def test_recall_and_who_reads_the_index(
    indexed_store: PostgresStore,
    stored: NDArray[np.float32],
    database: str,
    ns: Namespace,
    where: Filter | None,
    reads_the_index: bool,
) -> None:
    assert await recall(indexed_store, ns, stored, where, k=10) >= (0.95 if reads_the_index else 1)
    if not reads_the_index:
        # And one that does, so that its count tells that theirs would have come too.
        await recall(indexed_store, ns, stored, None, k=10)
    await indexed_store.close()  # a connection that stays open reports late
    with psycopg.connect(database, autocommit=True) as connection:
        generation = generation_of(connection, ns)
        scans = index_scans(connection, generation, more_than=19)
    assert scans == 20


async def test_the_index_alone_answers_a_filter_that_few_pass_where_the_rows_are_too_many(
    indexed_store: PostgresStore,
    stored: NDArray[np.float32],
    ns: Namespace,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without an iterative scan it finds 2 of 10 among the 200 that are nearest, and every row
    would have to be read after all."""

    async def exact(*_: object) -> list[TupleRow]:
        raise AssertionError("every row was read")

    monkeypatch.setattr(indexed_store, "_indexed_floats", 1)
    monkeypatch.setattr(Search, "_exact", exact)
    assert await recall(indexed_store, ns, stored, ONE_IN_A_HUNDRED, k=10) >= 0.95


async def test_the_nearest_deleted_leave_no_hole(
    indexed_store: PostgresStore, stored: NDArray[np.float32], ns: Namespace
) -> None:
    """Their entries stay in the index until it is built again."""
    [query] = vectors(1, seed=3)
    nearest = np.argsort(-(stored @ query))
    await indexed_store.delete(ns, ids=[f"d{at}" for at in nearest[:300]])
    [hits] = await indexed_store.search([VectorQuery(ns, query, 10)])
    assert len({hit.record.id for hit in hits} & {f"d{at}" for at in nearest[300:310]}) >= 9


async def test_more_hits_than_pass_are_all_that_pass(
    indexed_store: PostgresStore, stored: NDArray[np.float32], ns: Namespace
) -> None:
    [query] = vectors(1, seed=3)
    where = Compare("at", "in", (1, 2, DOCUMENTS + 1))
    rare, many = await indexed_store.search(
        [VectorQuery(ns, query, 5, where), VectorQuery(ns, query, DOCUMENTS, HALF)]
    )
    assert {hit.record.id for hit in rare} == {"d1", "d2"}
    assert len({hit.record.id for hit in many}) == DOCUMENTS // 2
    assert [hit.score for hit in many] == sorted((hit.score for hit in many), reverse=True)
    assert len(stored) == DOCUMENTS


async def test_vectors_too_wide_for_an_index_are_indexed_in_part(
    database: str, ns: Namespace
) -> None:
    """An HNSW index takes 4,000 dimensions."""
    store = PostgresStore(_eager(database), indexed_floats=1)
    await store.ensure(ns, 4_096, "fp")
    wide = np.eye(12, 4_096, k=4_084, dtype=np.float32) + np.eye(12, 4_096, dtype=np.float32)
    await store.upsert(ns, [Record(f"d{at}", "", {}, wide[at]) for at in range(12)])
    await store.maintenance.round()
    await store.describe(ns)  # read anew, now that it is indexed
    [hits] = await store.search([VectorQuery(ns, wide[7], 1)])
    assert [(hit.record.id, round(hit.score, 5)) for hit in hits] == [("d7", 1.0)]
    await store.close()
    with psycopg.connect(database, autocommit=True) as connection:
        assert index_scans(connection, generation_of(connection, ns), more_than=0) == 1


async def test_an_answer_is_read_no_further_than_its_bound(
    database: str, ns: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 64 documents of 100 kB, one more than an answer holds is read; the connection stays."""
    read: list[TupleRow] = []

    def noted(row: TupleRow) -> int:
        read.append(row)
        return bytes_of(row)

    monkeypatch.setattr(searches, "bytes_of", noted)
    store = PostgresStore(database, connections=1)
    await store.ensure(ns, WIDTH, "fp")
    made = zip(range(64), vectors(64, seed=4), strict=True)
    await store.upsert(ns, [Record(f"{at}", "é" * 50_000, {}, vector) for at, vector in made])
    [query] = vectors(1, seed=3)
    async with store._connections.lend() as connection:
        before = connection.info.backend_pid
    size = 100_000 + len("{}")
    monkeypatch.setattr(searches, "ANSWER_BYTES", 20 * size)
    [hits] = await store.search([VectorQuery(ns, query, 20)])
    assert len(hits) == 20
    for k in (21, 64):
        read.clear()
        with pytest.raises(PayloadTooLarge, match="top_k"):
            await store.search([VectorQuery(ns, query, k)])
        assert len(read) == 21
    async with store._connections.lend() as connection:
        assert connection.info.backend_pid == before
    await store.close()


@pytest.mark.parametrize("where", [None, ONE_IN_A_HUNDRED], ids=["by-the-index", "all-compared"])
async def test_an_answer_of_an_indexed_collection_is_bounded_too(
    indexed_store: PostgresStore,
    stored: NDArray[np.float32],
    ns: Namespace,
    where: Filter | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(searches, "ANSWER_BYTES", 400)
    [hits] = await indexed_store.search([VectorQuery(ns, stored[0], 5, where)])
    assert len(hits) == 5
    with pytest.raises(PayloadTooLarge):
        await indexed_store.search([VectorQuery(ns, stored[0], 25, where)])
