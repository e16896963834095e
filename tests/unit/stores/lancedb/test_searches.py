"""Searches for many documents: in parts, the same as at once, and no further than they may go."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deployments.errors import PayloadTooLarge
from deployments.stores.base import Compare, Filter, Hit, Namespace, Record, VectorQuery
from deployments.stores.lancedb import searches
from deployments.stores.lancedb.filters import one_of
from deployments.stores.lancedb.store import LanceDBStore
from tests.unit.stores.made import DIMENSIONS, FINGERPRINT, unit

NS = Namespace("acme", "docs")
EAST = unit(1, 0, 0, 0)


def _record(at: int) -> Record:
    angle = at * np.pi / 500
    vector = unit(np.cos(angle), np.sin(angle), 0, 0)
    return Record(f"d{at}", f"text of {at}", {"at": at}, vector, tokens=bytes([at % 256]))


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[LanceDBStore]:
    store = LanceDBStore(tmp_path)
    await store.ensure(NS, DIMENSIONS, FINGERPRINT)
    await store.upsert(NS, [_record(at) for at in range(400)])
    yield store
    await store.close()


async def _search(
    store: LanceDBStore, k: int, where: Filter | None = None, vectors: Sequence[Any] = (EAST,)
) -> list[list[Hit]]:
    return await store.search([VectorQuery(NS, vector, k, where) for vector in vectors])


@pytest.mark.parametrize("where", [None, Compare("at", "gte", 50)])
async def test_parts_give_what_one_read_gives(
    store: LanceDBStore, monkeypatch: pytest.MonkeyPatch, where: Filter | None
) -> None:
    vectors = [EAST, unit(-1, 0.001, 0, 0)]
    in_parts = await _search(store, 300, where, vectors)
    monkeypatch.setattr(searches, "_READ_DOCUMENTS", 1_000)
    at_once = await _search(store, 300, where, vectors)
    assert in_parts == at_once
    nearest = 0 if where is None else 50
    assert [hit.record.id for hit in in_parts[0][:2]] == [f"d{nearest}", f"d{nearest + 1}"]
    assert in_parts[1][0].record.id == "d399"


async def test_no_more_is_read_than_an_answer_holds(
    store: LanceDBStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts: list[int] = []

    def noted(ids: Sequence[str]) -> Any:
        parts.append(len(ids))
        return one_of(ids)

    monkeypatch.setattr("deployments.stores.lancedb.searches.one_of", noted)
    monkeypatch.setattr(searches, "_READ_DOCUMENTS", 20)
    monkeypatch.setattr(searches, "ANSWER_BYTES", 500)
    with pytest.raises(PayloadTooLarge, match="top_k"):
        await _search(store, 300)
    assert sum(parts) < 60


async def test_what_is_deleted_or_changed_amid_a_search_is_left_out(
    store: LanceDBStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait = asyncio.Event()
    read = searches._read

    async def late(*args: Any) -> list[Hit]:
        await wait.wait()
        return await read(*args)

    monkeypatch.setattr(searches, "_read", late)
    searching = asyncio.create_task(_search(store, 200, Compare("at", "gte", 0)))
    await asyncio.sleep(0.2)
    await store.delete(NS, ["d0"])
    await store.upsert(NS, [Record("d1", "no longer meant", {"at": -1}, EAST)])
    wait.set()
    [hits] = await searching
    assert [hit.record.id for hit in hits[:2]] == ["d2", "d3"]
    assert len(hits) == 198
