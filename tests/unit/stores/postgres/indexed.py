"""A collection that is large enough for an index, by a bound made for it."""

import time
from collections.abc import Sequence

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import sql

from deployments.stores.base import Compare, Filter, Metadata, Namespace, Record, VectorQuery
from deployments.stores.filters import matches
from deployments.stores.postgres.store import PostgresStore
from tests.unit.stores.made import FINGERPRINT

DOCUMENTS, WIDTH = 3_000, 16
# A fifth of a hundredth of the collection, which an exact search may have five times of.
INDEXED_FLOATS = DOCUMENTS * WIDTH // 100

ONE_IN_A_HUNDRED = Compare("at", "lt", DOCUMENTS // 100)
HALF = Compare("half", "eq", "first")
NEARLY_ALL = Compare("at", "gte", 30)


def metadata(at: int) -> Metadata:
    return {"at": at, "half": "first" if at % 2 else "second"}


def vectors(count: int, seed: int) -> NDArray[np.float32]:
    """Unit vectors, float32 [count, WIDTH], in clusters of about a hundred."""
    centres = np.random.default_rng(0).normal(size=(30, WIDTH))
    random = np.random.default_rng(seed)
    made = centres[random.integers(30, size=count)] + 0.4 * random.normal(size=(count, WIDTH))
    unit: NDArray[np.float32] = made / np.linalg.norm(made, axis=1, keepdims=True)
    return unit.astype(np.float32)


async def fill(store: PostgresStore, ns: Namespace) -> NDArray[np.float32]:
    """Write the collection, index it, and return its vectors."""
    stored = vectors(DOCUMENTS, seed=1)
    await store.ensure(ns, WIDTH, FINGERPRINT)
    records = [Record(f"d{at}", f"{at}", metadata(at), stored[at]) for at in range(DOCUMENTS)]
    await store.upsert(ns, records)
    await store.maintenance.round()
    assert (await store.describe(ns)).documents == DOCUMENTS  # read anew, now that it is indexed
    return stored


async def recall(
    store: PostgresStore, ns: Namespace, stored: NDArray[np.float32], where: Filter | None, k: int
) -> float:
    """The share of the nearest that twenty searches find, of those that pass the filter."""
    queries = vectors(20, seed=2)
    passing = [at for at in range(DOCUMENTS) if where is None or matches(where, metadata(at))]
    answers = await store.search([VectorQuery(ns, query, k, where) for query in queries])
    found = 0
    for query, hits in zip(queries, answers, strict=True):
        nearest = sorted(passing, key=lambda at: float(-(stored[at] @ query)))[:k]
        found += len({hit.record.id for hit in hits} & {f"d{at}" for at in nearest})
    return found / (20 * min(k, len(passing)))


def generation_of(connection: psycopg.Connection, ns: Namespace) -> int:
    row = connection.execute(
        "SELECT generation FROM winnow.collections WHERE tenant = %s AND name = %s",
        [ns.tenant, ns.collection],
    ).fetchone()
    assert row is not None
    return int(row[0])


def hnsw_indexes(
    connection: psycopg.Connection, generation: int
) -> Sequence[tuple[str, bool, int]]:
    """Names, validity and files of the table's HNSW indexes."""
    return connection.execute(
        sql.SQL(
            "SELECT relname, indisvalid, relfilenode::bigint FROM pg_index"
            " JOIN pg_class ON pg_class.oid = indexrelid JOIN pg_am ON pg_am.oid = relam"
            " WHERE indrelid = to_regclass(%s) AND amname = 'hnsw'"
        ),
        [f"winnow.docs_{generation}"],
    ).fetchall()


def index_scans(connection: psycopg.Connection, generation: int, more_than: int) -> int:
    """Return the scans of the HNSW index; wait until the server counts more than `more_than`."""
    scans = 0
    for _ in range(100):
        row = connection.execute(
            "SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = %s",
            [f"docs_{generation}_hnsw"],
        ).fetchone()
        scans = int(row[0]) if row else 0
        if scans > more_than:
            return scans
        time.sleep(0.1)
    return scans
