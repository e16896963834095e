"""The stores under test: every adapter, opened as a replica opens it."""

import os
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from deployments.stores.base import Namespace, VectorStore
from deployments.stores.lancedb.store import LanceDBStore
from deployments.stores.postgres.store import PostgresStore
from deployments.stores.qdrant.store import IN_MEMORY, QdrantStore
from tests.postgres import new_database, own_server, postgres_url
from tests.unit.stores.made import DIMENSIONS, FINGERPRINT, record, records

__all__ = ["own_server", "postgres_url"]


@pytest.fixture(scope="session")
def database(postgres_url: str) -> str:
    """A database for all stores of this run, as a server keeps its collections between tests."""
    return new_database(postgres_url)


@pytest.fixture(params=["lancedb", "postgres", "qdrant-local", "qdrant-server"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[VectorStore]:
    if request.param == "postgres":
        opened: VectorStore = PostgresStore(request.getfixturevalue("database"))
    else:
        opened = _open(request.param, tmp_path)
    yield opened
    await opened.close()


def _open(engine: str, directory: Path) -> VectorStore:
    if engine == "lancedb":
        return LanceDBStore(directory)
    if engine == "qdrant-local":
        return QdrantStore(IN_MEMORY, replication_factor=1)
    url = os.environ.get("QDRANT_URL")
    if url is None:
        pytest.skip("QDRANT_URL names no Qdrant server")
    return QdrantStore(url, replication_factor=1, shard_number=1)


@pytest.fixture
def ns() -> Namespace:
    """A namespace of this test alone: a server keeps its collections between tests."""
    return Namespace(f"T-{uuid.uuid4().hex}", "docs")


@pytest.fixture
def other(ns: Namespace) -> Namespace:
    """Another tenant's collection of the same name; the tenants differ only by case."""
    return Namespace(ns.tenant.lower(), ns.collection)


@pytest.fixture
async def filled(store: VectorStore, ns: Namespace, other: Namespace) -> VectorStore:
    """Ten records in `ns`, and records of the same ids and another text in the other tenant's."""
    for space in (ns, other):
        await store.ensure(space, DIMENSIONS, FINGERPRINT)
    await store.upsert(ns, records(10))
    await store.upsert(other, [record(f"d{at}", text="theirs") for at in range(12)])
    return store
