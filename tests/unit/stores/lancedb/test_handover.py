"""Handover of a directory from one store to the next, which waits and loses nothing."""

import asyncio
from pathlib import Path

import pytest

from deployments.errors import NotBegun
from deployments.stores.base import Namespace
from deployments.stores.lancedb.store import LanceDBStore
from tests.unit.stores.made import DIMENSIONS, FINGERPRINT, count, record, records

NS = Namespace("Acme", "docs")


async def test_the_next_store_waits_for_the_first_and_reads_what_it_wrote(tmp_path: Path) -> None:
    first, second = LanceDBStore(tmp_path), LanceDBStore(tmp_path)
    await first.ensure(NS, DIMENSIONS, FINGERPRINT)
    reading = asyncio.create_task(count(second, NS))
    writing = asyncio.create_task(second.upsert(NS, [record("second's")]))
    await asyncio.sleep(0.2)
    await first.upsert(NS, records(5))
    assert not reading.done()
    assert not writing.done()

    await first.close()
    assert await reading >= 5
    await writing
    assert await count(second, NS) == 6
    await second.close()


async def test_a_cancelled_caller_leaves_the_lock_to_the_next(tmp_path: Path) -> None:
    first, second = LanceDBStore(tmp_path), LanceDBStore(tmp_path)
    await first.ensure(NS, DIMENSIONS, FINGERPRINT)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(count(second, NS), 0.1)
    waiting = asyncio.create_task(count(second, NS))
    await first.close()
    assert await waiting == 0
    await second.close()


async def test_a_closed_store_stays_closed(tmp_path: Path) -> None:
    store = LanceDBStore(tmp_path)
    await store.ensure(NS, DIMENSIONS, FINGERPRINT)
    await store.close()
    with pytest.raises(NotBegun):
        await store.upsert(NS, [record("late")])


async def test_a_store_closed_while_it_waits_never_gets_the_directory(
    tmp_path: Path,
) -> None:
    first, second = LanceDBStore(tmp_path), LanceDBStore(tmp_path)
    await first.ensure(NS, DIMENSIONS, FINGERPRINT)
    waiting = asyncio.create_task(count(second, NS))
    await asyncio.sleep(0.1)
    await second.close()
    await first.close()
    with pytest.raises(NotBegun):
        await waiting
    third = LanceDBStore(tmp_path)
    assert await asyncio.wait_for(count(third, NS), 10) == 0
    await third.close()
