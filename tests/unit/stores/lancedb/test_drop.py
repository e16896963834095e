"""Calls during a drop of a LanceDB table: they wait, or find no collection."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from deployments.errors import NotFound
from deployments.stores.base import Namespace
from deployments.stores.lancedb.store import LanceDBStore
from tests.unit.stores.made import DIMENSIONS, FINGERPRINT, count, records

NS = Namespace("acme", "docs")


class HeldStore(LanceDBStore):
    """A store that pauses in the middle of a drop until it is released."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.half_way, self.let_go = asyncio.Event(), asyncio.Event()
        self._stop = self._maintenance.stop
        self._maintenance.stop = self._stop_held  # type: ignore[method-assign] # the moment to stop at

    async def _stop_held(self, name: str) -> None:
        self.half_way.set()
        await self.let_go.wait()
        await self._stop(name)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[HeldStore]:
    store = HeldStore(tmp_path)
    await store.ensure(NS, DIMENSIONS, FINGERPRINT)
    await store.upsert(NS, records(3))
    yield store
    await store.close()


async def test_an_upsert_during_a_drop_is_refused_and_leaves_no_files(
    store: HeldStore, tmp_path: Path
) -> None:
    drop = asyncio.create_task(store.drop(NS))
    await store.half_way.wait()
    upsert = asyncio.create_task(store.upsert(NS, records(3)))
    await asyncio.sleep(0.1)
    store.let_go.set()
    await drop
    with pytest.raises(NotFound):
        await upsert
    assert [one.name for one in tmp_path.iterdir()] == ["owner.lock"]
    assert await store.ensure(NS, DIMENSIONS, FINGERPRINT)
    await store.upsert(NS, records(2))
    assert await count(store, NS) == 2


async def test_other_changes_wait_for_a_drop_whose_caller_was_cancelled(store: HeldStore) -> None:
    drop = asyncio.create_task(store.drop(NS))
    await store.half_way.wait()
    drop.cancel()
    ensure = asyncio.create_task(store.ensure(NS, DIMENSIONS, FINGERPRINT))
    await asyncio.sleep(0.1)
    assert not ensure.done()
    store.let_go.set()
    assert await ensure
    assert await count(store, NS) == 0


async def test_a_drop_that_fails_leaves_the_collection(
    store: HeldStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_: Namespace) -> None:
        raise OSError("broken")

    store.let_go.set()
    with monkeypatch.context() as broken:
        broken.setattr(store._tables, "drop", fail)
        with pytest.raises(OSError, match="broken"):
            await store.drop(NS)
    await store.upsert(NS, records(5))
    assert await count(store, NS) == 5
