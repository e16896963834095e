"""Conformance of every adapter to the VectorStore protocol."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import numpy as np
import pytest

from deployments.errors import FingerprintMismatch, InvalidRequest, NotFound
from deployments.stores.base import Collection, Compare, Namespace, Record, VectorQuery, VectorStore
from deployments.stores.records import PAGE_BYTES, SCAN_RECORDS, size_of
from tests.unit.stores.made import DIMENSIONS, FINGERPRINT, count, record, records, unit

EAST = unit(1, 0, 0, 0)


async def ids_of(store: VectorStore, ns: Namespace) -> list[str]:
    return sorted(r.id for r in (await store.scan(ns, None, 1_000)).records)


async def test_ensure_creates_once(store: VectorStore, ns: Namespace) -> None:
    assert await store.ensure(ns, DIMENSIONS, FINGERPRINT)
    assert not await store.ensure(ns, DIMENSIONS, FINGERPRINT)
    assert await store.describe(ns) == Collection("docs", DIMENSIONS, FINGERPRINT, 0)
    assert await store.fingerprint(ns) == FINGERPRINT


@pytest.mark.parametrize(("dimensions", "fingerprint"), [(8, FINGERPRINT), (DIMENSIONS, "new")])
async def test_ensure_refuses_another_model(
    store: VectorStore, ns: Namespace, dimensions: int, fingerprint: str
) -> None:
    await store.ensure(ns, DIMENSIONS, FINGERPRINT)
    with pytest.raises(FingerprintMismatch):
        await store.ensure(ns, dimensions, fingerprint)


async def test_concurrent_ensures_create_one(store: VectorStore, ns: Namespace) -> None:
    made = await asyncio.gather(*(store.ensure(ns, DIMENSIONS, FINGERPRINT) for _ in range(5)))
    assert sorted(made) == [False, False, False, False, True]


@pytest.mark.parametrize(
    "call",
    [
        lambda store, ns: store.describe(ns),
        lambda store, ns: store.fingerprint(ns),
        lambda store, ns: store.upsert(ns, records(1)),
        lambda store, ns: store.delete(ns, ids=["d0"]),
        lambda store, ns: store.delete(ns, where=Compare("at", "eq", 1)),
        lambda store, ns: store.get(ns, ["d0"]),
        lambda store, ns: store.search([VectorQuery(ns, EAST, 1)]),
        lambda store, ns: store.scan(ns, None, 10),
        lambda store, ns: store.drop(ns),
    ],
)
async def test_a_missing_collection_is_not_found(
    store: VectorStore,
    ns: Namespace,
    call: Callable[[VectorStore, Namespace], Awaitable[object]],
) -> None:
    with pytest.raises(NotFound):
        await call(store, ns)
    await store.ensure(ns, DIMENSIONS, FINGERPRINT)
    await store.upsert(ns, records(1))
    await store.drop(ns)
    with pytest.raises(NotFound):
        await call(store, ns)


async def test_only_a_search_returns_tokens(store: VectorStore, ns: Namespace) -> None:
    await store.ensure(ns, DIMENSIONS, FINGERPRINT)
    await store.upsert(ns, [replace(record("with"), tokens=b"\x00\xff"), record("without", turn=1)])
    [hits] = await store.search([VectorQuery(ns, EAST, 2)])
    assert [hit.record.tokens for hit in hits] == [b"\x00\xff", None]
    assert [one and one.tokens for one in await store.get(ns, ["with"])] == [None]


async def test_collections_are_those_of_the_tenant(filled: VectorStore, ns: Namespace) -> None:
    await filled.ensure(Namespace(ns.tenant, "a-second_1"), 8, "fp2")
    await filled.ensure(Namespace(ns.tenant + "-x", "foreign"), 8, "fp2")
    assert await filled.collections(ns.tenant) == [
        Collection("a-second_1", 8, "fp2", 0),
        Collection("docs", DIMENSIONS, FINGERPRINT, 10),
    ]
    assert await filled.collections("nobody") == []


async def test_get_keeps_the_order_and_returns_none_for_the_missing(
    filled: VectorStore, ns: Namespace
) -> None:
    found = await filled.get(ns, ["d3", "absent", "d1", "d3"])
    assert [r and r.id for r in found] == ["d3", None, "d1", "d3"]
    assert found[0] == replace(records(4)[3], vector=None)
    assert await filled.get(ns, []) == []


async def test_upsert_is_idempotent_and_replaces_whole(filled: VectorStore, ns: Namespace) -> None:
    await filled.upsert(ns, records(10))
    await filled.upsert(ns, [record("d1", text="new", metadata={"only": True})])
    await filled.upsert(ns, [])
    assert await count(filled, ns) == 10
    [changed] = await filled.get(ns, ["d1"])
    assert changed == Record("d1", "new", {"only": True})


async def test_the_last_of_two_records_with_one_id_wins(filled: VectorStore, ns: Namespace) -> None:
    await filled.upsert(ns, [record("x", text="1"), record("y"), record("x", text="2")])
    [kept] = await filled.get(ns, ["x"])
    assert kept is not None
    assert kept.text == "2"
    assert await count(filled, ns) == 12


async def test_concurrent_upserts_leave_no_duplicates(filled: VectorStore, ns: Namespace) -> None:
    overlapping = [[record(f"c{at}") for at in range(n, n + 20)] for n in range(0, 60, 5)]
    await asyncio.gather(*(filled.upsert(ns, batch) for batch in overlapping))
    found = await ids_of(filled, ns)
    assert len(found) == len(set(found)) == 10 + 75


@pytest.mark.parametrize(
    "vector",
    [None, unit(1, 0, 0), np.zeros(4, np.float32), np.full(4, np.nan, np.float32)],
    ids=["none", "short", "zero", "nan"],
)
async def test_a_bad_vector_is_refused_and_spoils_nothing(
    filled: VectorStore, ns: Namespace, vector: np.ndarray | None
) -> None:
    good, bad = record("good"), Record("bad", "", {}, vector)
    results = await asyncio.gather(
        filled.upsert(ns, [good]), filled.upsert(ns, [bad]), return_exceptions=True
    )
    assert results[0] is None
    assert isinstance(results[1], InvalidRequest)
    if vector is not None:
        with pytest.raises(InvalidRequest):
            await filled.search([VectorQuery(ns, vector, 1)])
    assert await count(filled, ns) == 11


async def test_search_is_ordered_by_cosine(filled: VectorStore, ns: Namespace) -> None:
    [hits] = await filled.search([VectorQuery(ns, EAST * 3, 4)])
    assert [hit.record.id for hit in hits] == ["d0", "d1", "d2", "d3"]
    for hit, expected in zip(hits, records(4), strict=True):
        assert expected.vector is not None
        assert hit.score == pytest.approx(float(EAST @ expected.vector), abs=1e-5)
        assert -1 <= hit.score <= 1
        assert hit.record == replace(expected, vector=None)
    [opposite] = await filled.search([VectorQuery(ns, -EAST, 10)])
    assert opposite[-1].score == pytest.approx(-1, abs=1e-5)


async def test_search_answers_each_query_of_a_mixed_batch(
    filled: VectorStore, ns: Namespace, other: Namespace
) -> None:
    wide = Namespace(ns.tenant, "wide")
    await filled.ensure(wide, 8, "fp2")
    await filled.upsert(wide, [Record("w", "", {}, unit(*range(1, 9)))])
    queries = [
        VectorQuery(ns, EAST, 2),
        VectorQuery(other, EAST, 2),
        VectorQuery(wide, unit(*range(1, 9)), 5),
        VectorQuery(ns, -EAST, 2),
        VectorQuery(ns, EAST, 2, where=Compare("at", "eq", 1)),
        VectorQuery(ns, EAST, 2, where=Compare("at", "eq", True)),
        VectorQuery(ns, EAST, 100),
    ]
    answers = await filled.search(queries)
    assert [[hit.record.id for hit in hits] for hits in (answers[0], answers[3])] == [
        ["d0", "d1"],
        ["d9", "d8"],
    ]
    assert {hit.record.text for hit in answers[1]} == {"theirs"}
    assert [hit.record.id for hit in answers[2]] == ["w"]
    assert [hit.record.id for hit in answers[4]] == ["d1"]
    assert answers[5] == []
    assert len(answers[6]) == 10
    assert await filled.search([]) == []


async def test_search_of_an_empty_collection(store: VectorStore, ns: Namespace) -> None:
    await store.ensure(ns, DIMENSIONS, FINGERPRINT)
    assert await store.search([VectorQuery(ns, EAST, 5), VectorQuery(ns, -EAST, 5)]) == [[], []]
    assert (await store.scan(ns, None, 5)).records == []
    assert await store.delete(ns, ids=["d0"]) == 0


async def test_k_and_limit_must_be_positive(filled: VectorStore, ns: Namespace) -> None:
    with pytest.raises(InvalidRequest):
        await filled.search([VectorQuery(ns, EAST, 0)])
    with pytest.raises(InvalidRequest):
        await filled.scan(ns, None, 0)


async def test_delete_returns_the_number_of_deleted_records(
    filled: VectorStore, ns: Namespace, other: Namespace
) -> None:
    assert await filled.delete(ns, ids=["d1", "d2", "absent", "d1", "d11"]) == 2
    assert await filled.delete(ns, where=Compare("at", "gte", 7)) == 3
    assert await filled.delete(ns, where=Compare("at", "gte", 7)) == 0
    assert await filled.delete(ns, ids=[]) == 0
    assert await ids_of(filled, ns) == ["d0", "d3", "d4", "d5", "d6"]
    assert await count(filled, other) == 12
    with pytest.raises(ValueError, match="ids or a filter"):
        await filled.delete(ns)


@pytest.mark.parametrize("limit", [1, 3, 10, 11])
async def test_scan_covers_all_exactly_once(filled: VectorStore, ns: Namespace, limit: int) -> None:
    seen: list[str] = []
    cursor: str | None = None
    while True:
        page = await filled.scan(ns, cursor, limit)
        assert len(page.records) <= limit
        assert all(r.vector is None for r in page.records)
        seen += [r.id for r in page.records]
        cursor = page.cursor
        if cursor is None:
            break
    assert sorted(seen) == sorted(r.id for r in records(10))


async def test_a_page_of_large_records_ends_early(filled: VectorStore, ns: Namespace) -> None:
    """A page ends at PAGE_BYTES, not at the records read at a time, and no record is lost."""
    large = "é" * (PAGE_BYTES // 10)
    await filled.upsert(ns, [record(f"l{at}", text=large) for at in range(12)])
    seen: list[str] = []
    cursor: str | None = None
    pages = 0
    while cursor or not pages:
        page = await filled.scan(ns, cursor, 22)
        assert sum(map(size_of, page.records)) < PAGE_BYTES + 3 * len(large)
        seen += [r.id for r in page.records]
        cursor, pages = page.cursor, pages + 1
    assert pages >= 3
    assert sorted(seen) == sorted([f"d{at}" for at in range(10)] + [f"l{at}" for at in range(12)])


async def test_a_page_may_have_more_than_is_read_at_once(store: VectorStore, ns: Namespace) -> None:
    await store.ensure(ns, DIMENSIONS, FINGERPRINT)
    await store.upsert(ns, records(SCAN_RECORDS + 20))
    page = await store.scan(ns, None, SCAN_RECORDS + 10)
    assert len({r.id for r in page.records}) == SCAN_RECORDS + 10
    rest = await store.scan(ns, page.cursor, SCAN_RECORDS)
    assert len(rest.records) == 10
    assert rest.cursor is None


async def test_drop_deletes_only_one_tenants_documents(
    filled: VectorStore, ns: Namespace, other: Namespace
) -> None:
    await filled.drop(ns)
    assert await filled.collections(ns.tenant) == []
    assert await count(filled, other) == 12
    assert await filled.ensure(ns, 8, "another model")
    assert await filled.describe(ns) == Collection("docs", 8, "another model", 0)
    await filled.upsert(ns, [Record("n", "", {}, unit(*range(1, 9)))])
    assert await ids_of(filled, ns) == ["n"]


async def test_a_collection_created_again_is_empty(filled: VectorStore, ns: Namespace) -> None:
    await filled.drop(ns)
    await filled.ensure(ns, DIMENSIONS, FINGERPRINT)
    assert await count(filled, ns) == 0
    assert await filled.get(ns, ["d0"]) == [None]


async def test_a_drop_during_writes_leaves_nothing(filled: VectorStore, ns: Namespace) -> None:
    writes = [filled.upsert(ns, records(5)) for _ in range(5)]
    await asyncio.gather(*writes[:2], filled.drop(ns), *writes[2:], return_exceptions=True)
    with pytest.raises(NotFound):
        await count(filled, ns)


async def test_metadata_round_trips(filled: VectorStore, ns: Namespace) -> None:
    metadata = {"i": 2**60, "f": 1.0, "n": None, "b": False, "l": ["b", "a"], "s": "", "e": []}
    await filled.upsert(ns, [record("m", metadata=metadata)])
    [found] = await filled.get(ns, ["m"])
    assert found is not None
    assert found.metadata == metadata
    assert [type(value) for value in found.metadata.values()] == [
        type(value) for value in metadata.values()
    ]


async def test_health_names_a_durability(store: VectorStore) -> None:
    assert await store.health() in ("fsync", "replicated", "page-cache", "memory")
