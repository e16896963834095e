"""The limit on documents: exact where it matters, and counted seldom where it does not."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from deployments.config import IndexConfig
from deployments.errors import QuotaExhausted
from deployments.index import Index
from deployments.pipeline.collections import Collections
from deployments.request.deadline import Deadline
from deployments.stores.base import Collection, Namespace
from deployments.tenants.document_limit import DocumentLimit
from tests.unit.stores.made import DIMENSIONS, FINGERPRINT, record


class Stored:
    """Collections of one tenant with one collection; counts how often they are counted."""

    def __init__(self) -> None:
        self.ids: set[str] = set()
        self.counts = 0

    async def all(self, _: str, __: Deadline) -> list[Collection]:
        self.counts += 1
        return [Collection("notes", 4, "model", len(self.ids))]

    async def count_new(self, _: str, __: str, ids: Sequence[str], ___: Deadline) -> int:
        return sum(id not in self.ids for id in ids)


class Tenant:
    def __init__(self, routers: int = 1) -> None:
        self.now_s = 0.0
        self.stored = Stored()
        collections = cast(Collections, cast(Any, self.stored))
        self.limit = DocumentLimit(collections, lambda: routers, lambda: self.now_s)

    async def upsert(self, *ids: str, most: int = 1_000) -> None:
        deadline = Deadline(1e9, lambda: self.now_s)
        await self.limit.check("acme", "notes", ids, most, deadline)
        self.stored.ids.update(ids)


async def test_an_ingestion_far_below_the_limit_is_counted_once_a_minute() -> None:
    tenant = Tenant()
    for number in range(500):
        await tenant.upsert(f"d{number}")
    assert tenant.stored.counts == 1
    tenant.now_s = 61.0
    await tenant.upsert("e")
    assert tenant.stored.counts == 2


@pytest.mark.parametrize("routers", [1, 3])
async def test_the_limit_is_reached_exactly_and_not_passed(routers: int) -> None:
    tenant = Tenant(routers)
    for number in range(10):
        await tenant.upsert(f"d{number}", most=10)
    with pytest.raises(QuotaExhausted, match="10 are stored and 1 of these"):
        await tenant.upsert("d0", "d10", most=10)
    await tenant.upsert("d0", "d1", most=10)
    tenant.stored.ids.remove("d5")
    await tenant.upsert("d10", most=10)


async def test_others_are_taken_to_upsert_as_much() -> None:
    tenant = Tenant(routers=2)
    await tenant.upsert(*(f"d{number}" for number in range(400)))
    tenant.stored.ids.update(f"e{number}" for number in range(400))
    with pytest.raises(QuotaExhausted):
        await tenant.upsert(*(f"f{number}" for number in range(250)))


async def test_a_lowered_limit_holds_at_once() -> None:
    tenant = Tenant()
    await tenant.upsert("a", "b", "c")
    with pytest.raises(QuotaExhausted):
        await tenant.upsert("d", most=3)


class Indexed:
    """Collections that ask an Index, without a cluster."""

    def __init__(self, index: Index) -> None:
        self._index = index

    async def all(self, tenant: str, _: Deadline) -> list[Collection]:
        return await self._index.collections(tenant)

    async def count_new(self, tenant: str, name: str, ids: Sequence[str], _: Deadline) -> int:
        return await self._index.count_new(Namespace(tenant, name), ids)


async def test_the_largest_documents_may_be_replaced_at_the_limit(tmp_path: Path) -> None:
    index = Index(IndexConfig(engine="lancedb", directory=str(tmp_path)))
    ns = Namespace("acme", "notes")
    await index.ensure(ns, DIMENSIONS, FINGERPRINT)
    # Of 4 MB each, and together more than an answer of the Index holds.
    stored = [record(f"d{number}", text="\N{GRINNING FACE}" * 1_000_000) for number in range(13)]
    for one in stored:
        await index.upsert(ns, [one], FINGERPRINT)
    collections = cast(Collections, cast(Any, Indexed(index)))
    limit = DocumentLimit(collections, lambda: 1, time.monotonic)
    deadline = Deadline.after(60, time.monotonic)
    ids = [one.id for one in stored]
    await limit.check("acme", "notes", ids, 13, deadline)
    with pytest.raises(QuotaExhausted, match="13 are stored and 2 of these"):
        await limit.check("acme", "notes", ["new", *ids, "newer"], 13, deadline)
    await index._store.close()
