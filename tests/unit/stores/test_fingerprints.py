"""Vectors of another model: no store writes them or searches by them."""

import pytest

from deployments.errors import FingerprintMismatch
from deployments.stores.base import Namespace, VectorQuery, VectorStore
from tests.unit.stores.made import DIMENSIONS, FINGERPRINT, count, records, unit

EAST = unit(1, 0, 0, 0)


async def test_vectors_of_another_model_are_refused(store: VectorStore, ns: Namespace) -> None:
    await store.ensure(ns, DIMENSIONS, FINGERPRINT)
    await store.upsert(ns, records(2), FINGERPRINT)
    with pytest.raises(FingerprintMismatch):
        await store.upsert(ns, records(5), "another")
    assert await count(store, ns) == 2
    same = VectorQuery(ns, EAST, 5, fingerprint=FINGERPRINT)
    another = VectorQuery(ns, EAST, 5, fingerprint="another")
    [hits] = await store.search([same])
    assert len(hits) == 2
    for queries in ([another], [same, another], [another, same]):
        with pytest.raises(FingerprintMismatch):
            await store.search(queries)


async def test_a_call_that_names_no_model_is_served(store: VectorStore, ns: Namespace) -> None:
    await store.ensure(ns, DIMENSIONS, FINGERPRINT)
    await store.upsert(ns, records(2))
    [hits] = await store.search([VectorQuery(ns, EAST, 5)])
    assert len(hits) == 2
