"""The Index deployment: its refusals, its calls to the store, and the store it opens."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from deployments.config import IndexConfig
from deployments.errors import (
    FingerprintMismatch,
    InternalError,
    InvalidRequest,
    NotFound,
    PayloadTooLarge,
    StoreUnavailable,
)
from deployments.index import Index
from deployments.request.origin import Origin
from deployments.rows.searches import SearchAnswers
from deployments.stores.base import Hit, IndexSearch, Namespace, Record, SearchAnswer, VectorQuery
from tests.unit.stores.made import DIMENSIONS, FINGERPRINT, record, records, unit

NS = Namespace("acme", "docs")
EAST = unit(1, 0, 0, 0)


def search(k: int) -> IndexSearch:
    return IndexSearch(VectorQuery(NS, EAST, k), FINGERPRINT)


async def asked(index: Index, searches: Sequence[IndexSearch]) -> tuple[SearchAnswer, ...]:
    found = await index.search(searches, 30, Origin("acme"))
    assert isinstance(found, SearchAnswers)
    return found.answers


async def answered(index: Index, searches: Sequence[IndexSearch]) -> list[list[Hit]]:
    """All were answered with hits."""
    answers = await asked(index, searches)
    hits = [answer for answer in answers if isinstance(answer, list)]
    assert len(hits) == len(answers)
    return hits


@pytest.fixture
async def index(tmp_path: Path) -> AsyncIterator[Index]:
    index = Index(IndexConfig(directory=str(tmp_path)))
    await index.ensure(NS, DIMENSIONS, FINGERPRINT)
    yield index
    await index.__del__()


async def test_vectors_of_another_model_are_refused(index: Index) -> None:
    await index.upsert(NS, records(1), FINGERPRINT)
    with pytest.raises(FingerprintMismatch):
        await index.upsert(NS, records(1), "another")
    [refusal] = await asked(index, [IndexSearch(VectorQuery(NS, EAST, 1), "another")])
    assert isinstance(refusal, FingerprintMismatch)
    await index.drop(NS)
    with pytest.raises(NotFound):
        await index.check(NS, FINGERPRINT)


async def test_documents_too_large_for_one_answer_are_refused(index: Index) -> None:
    large = "x" * (10 * 1024 * 1024)
    await index.upsert(NS, [record(f"d{at}", text=large) for at in range(5)], FINGERPRINT)
    ids = [f"d{at}" for at in range(5)]
    with pytest.raises(PayloadTooLarge, match=r"48 MiB.*with ids"):
        await index.get(NS, ids)
    [refusal] = await asked(index, [search(5)])
    assert isinstance(refusal, PayloadTooLarge)
    assert "with top_k" in refusal.message
    assert len(await index.get(NS, ids[:4])) == 4
    assert [len(hits) for hits in await answered(index, [search(4)])] == [4]
    assert len((await index.scan(NS, None, 5)).records) == 2


async def test_an_answer_too_large_for_the_batch_must_be_asked_for_alone(index: Index) -> None:
    large = "x" * (10 * 1024 * 1024)
    await index.upsert(NS, [record(f"d{at}", text=large) for at in range(4)], FINGERPRINT)
    first, second, third = await asked(index, [search(3), search(2), search(1)])
    assert isinstance(first, list)
    assert second is None
    assert isinstance(third, list)


async def test_a_failed_search_does_not_affect_the_others(index: Index) -> None:
    await index.upsert(NS, records(3), FINGERPRINT)
    wrong = IndexSearch(VectorQuery(NS, unit(1, 0), 1), FINGERPRINT)
    missing = IndexSearch(VectorQuery(Namespace("acme", "none"), EAST, 1), FINGERPRINT)
    good, bad, none = await asked(index, [search(2), wrong, missing])
    assert isinstance(good, list)
    assert len(good) == 2
    assert isinstance(bad, InvalidRequest)
    assert isinstance(none, NotFound)


async def test_a_store_in_trouble_is_asked_once_for_all_searches_of_a_batch(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0

    async def away(_: object) -> None:
        nonlocal calls
        calls += 1
        raise StoreUnavailable("the index does not answer")

    await index.upsert(NS, records(1), FINGERPRINT)
    monkeypatch.setattr(index._store, "search", away)
    answer = await index.search([search(1)] * 8, 30, Origin("acme"))
    assert isinstance(answer, StoreUnavailable)
    assert calls <= 2, "by batches, not by searches"


@pytest.mark.parametrize("method", ["search", "fingerprint"])
async def test_searches_that_wait_do_not_wait_for_a_store_that_is_away(
    index: Index, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    calls = 0

    async def away(_: object) -> None:
        nonlocal calls
        calls += 1
        await asyncio.sleep(0.1)
        raise StoreUnavailable("the index does not answer")

    monkeypatch.setattr(index._store, method, away)
    if method == "search":
        await index.upsert(NS, records(1), FINGERPRINT)
    tenants = [Origin(f"tenant-{number}") for number in range(40)]
    began_s = time.monotonic()
    answers = await asyncio.gather(*(index.search([search(1)], 30, one) for one in tenants))
    assert {type(answer) for answer in answers} == {StoreUnavailable}
    assert calls <= 4
    assert time.monotonic() - began_s < 1


async def test_a_store_that_never_answers_holds_no_slot(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = index._store.search

    async def silent(_: object) -> None:
        await asyncio.Event().wait()

    await index.upsert(NS, records(1), FINGERPRINT)
    monkeypatch.setattr("deployments.index._STORE_TIMEOUT_S", 0.05)
    monkeypatch.setattr(index._store, "search", silent)
    slots = index._searches.limits.slots
    stuck = (index.search([search(1)], 5, Origin(f"tenant-{slot}")) for slot in range(slots))
    assert {type(answer) for answer in await asyncio.gather(*stuck)} == {StoreUnavailable}
    monkeypatch.setattr(index._store, "search", ask)
    monkeypatch.setattr("deployments.index._STORE_TIMEOUT_S", 5)
    [hits] = await answered(index, [search(1)])
    assert len(hits) == 1


async def test_a_damaged_collection_does_not_affect_the_others(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    await index.upsert(NS, records(1), FINGERPRINT)
    read = index._store.fingerprint
    damaged = Namespace("acme", "damaged")

    async def fingerprint(ns: Namespace) -> str:
        if ns == damaged:
            raise RuntimeError("a manifest is torn")
        return await read(ns)

    monkeypatch.setattr(index._store, "fingerprint", fingerprint)
    bad = IndexSearch(VectorQuery(damaged, EAST, 1), FINGERPRINT)
    first, failure, third = await asked(index, [search(1), bad, search(1)])
    assert isinstance(first, list)
    assert isinstance(failure, InternalError)
    assert isinstance(third, list)


async def test_documents_are_read_in_parts_until_they_are_too_many(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    await index.upsert(NS, records(300), FINGERPRINT)
    ids = [f"d{at}" for at in range(300)]
    ids[7] = "missing"
    found = await index.get(NS, ids)
    assert [None if one is None else one.id for one in found] == [
        None if id_ == "missing" else id_ for id_ in ids
    ]
    read = index._store.get
    asked_for: list[int] = []

    async def noted(ns: Namespace, some: Sequence[str]) -> list[Record | None]:
        asked_for.append(len(some))
        return await read(ns, some)

    monkeypatch.setattr(index._store, "get", noted)
    monkeypatch.setattr("deployments.index.ANSWER_BYTES", 2_000)
    with pytest.raises(PayloadTooLarge):
        await index.get(NS, ids)
    assert sum(asked_for) < 200


async def test_searches_of_two_tenants_never_share_a_call_to_the_store(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[set[str]] = []
    ask = index._store.search

    async def noted(queries: Sequence[VectorQuery]) -> list[list[Hit]]:
        calls.append({query.ns.tenant for query in queries})
        await asyncio.sleep(0.01)
        return await ask(queries)

    monkeypatch.setattr(index._store, "search", noted)
    spaces = [Namespace(tenant, "docs") for tenant in ("a", "b", "c")]
    for ns in spaces:
        await index.ensure(ns, DIMENSIONS, FINGERPRINT)
    await asyncio.gather(
        *(
            index.search(
                [IndexSearch(VectorQuery(ns, EAST, 1), FINGERPRINT)], 30, Origin(ns.tenant)
            )
            for _ in range(10)
            for ns in spaces
        )
    )
    assert {len(tenants) for tenants in calls} == {1}
    assert len(calls) < 30, "those of one tenant do"


async def test_a_defect_is_told_without_its_details(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    await index.upsert(NS, records(1), FINGERPRINT)

    async def broken(_: object) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(index._store, "search", broken)
    [failure] = await asked(index, [search(1)])
    assert isinstance(failure, InternalError)
    assert "secret" not in str(failure)


async def test_a_replica_that_ends_closes_its_store(index: Index) -> None:
    """Serve looks for the destructor on the instance."""
    await index.describe(NS)
    assert index._store._open  # type: ignore[attr-defined] # it is LanceDB's
    await index.__del__()
    assert not index._store._open  # type: ignore[attr-defined] # it is LanceDB's
    assert not hasattr(Index, "__del__")


async def test_only_status_reports_an_unreachable_store(unused_tcp_port: int) -> None:
    index = Index(IndexConfig(engine="qdrant", url=f"http://127.0.0.1:{unused_tcp_port}"))
    with pytest.raises(StoreUnavailable):
        await index.status()
    await index.check_health()  # Serve would replace the replica, which brings no store back
    await index.__del__()
