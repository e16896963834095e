"""Recall and latency of a store's searches, one after the other."""

import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from deployments.stores.base import Namespace, VectorQuery
from deployments.stores.postgres.store import PostgresStore
from loadtest.postgres.data import FILTERS, Tenant

_BATCH = 500
K = 10


@dataclass(frozen=True, slots=True)
class Searches:
    """The searches of one tenant with one filter; times in milliseconds."""

    tenant: str
    filter: str
    recall: float
    p50_ms: float
    p99_ms: float

    def document(self) -> dict[str, Any]:
        return asdict(self)


async def fill(store: PostgresStore, tenant: Tenant) -> float:
    """Write the tenant's documents. Return how many a second."""
    ns = Namespace(tenant.name, "docs")
    await store.ensure(ns, tenant.vectors.shape[1], "made")
    records = list(tenant.records())
    began_s = time.perf_counter()
    for start in range(0, len(records), _BATCH):
        await store.upsert(ns, records[start : start + _BATCH])
    return len(records) / (time.perf_counter() - began_s)


async def index(store: PostgresStore) -> float:
    """Build the indexes that are due. Return the seconds."""
    began_s = time.perf_counter()
    await store.maintenance.round()
    return time.perf_counter() - began_s


async def search(store: PostgresStore, tenant: Tenant, filter_name: str) -> Searches:
    """Ask every query of the tenant, and compare with all distances."""
    ns = Namespace(tenant.name, "docs")
    await store.describe(ns)
    passing = tenant.passing(filter_name)
    found, times_ms = 0, []
    for query in tenant.queries:
        asked = VectorQuery(ns, query, K, FILTERS[filter_name])
        began_s = time.perf_counter()
        [hits] = await store.search([asked])
        times_ms.append(1_000 * (time.perf_counter() - began_s))
        nearest = passing[np.argsort(-(tenant.vectors[passing] @ query))[:K]]
        found += len({hit.record.id for hit in hits} & {f"d{at}" for at in nearest})
    recall = found / (len(tenant.queries) * min(K, len(passing)))
    p50_ms, p99_ms = np.percentile(times_ms, [50, 99])
    return Searches(tenant.name, filter_name, recall, float(p50_ms), float(p99_ms))
