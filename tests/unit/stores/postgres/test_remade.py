"""Collections that another replica makes anew, for another model, while this one has their rows."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from deployments.config import IndexConfig
from deployments.errors import FingerprintMismatch
from deployments.index import Index
from deployments.request.origin import Origin
from deployments.rows.searches import SearchAnswers
from deployments.stores.base import IndexSearch, Namespace, VectorQuery
from deployments.stores.postgres.store import PostgresStore
from tests.unit.stores.made import DIMENSIONS, FINGERPRINT, count, records, unit

EAST = unit(1, 0, 0, 0)


@pytest.fixture
async def index(database: str, tmp_path: Path) -> AsyncIterator[Index]:
    file = tmp_path / "url"
    file.write_text(database)
    index = Index(IndexConfig(engine="postgres", database_url_file=str(file)))
    yield index
    await index.__del__()


@pytest.fixture
async def another(database: str) -> AsyncIterator[PostgresStore]:
    """The store of another replica."""
    store = PostgresStore(database)
    yield store
    await store.close()


async def make_anew(index: Index, another: PostgresStore, ns: Namespace) -> None:
    """For another model, just after `index` has read that it is of FINGERPRINT."""
    await index.ensure(ns, DIMENSIONS, FINGERPRINT)
    await another.upsert(ns, records(2), FINGERPRINT)
    await index.check(ns, FINGERPRINT)
    await another.drop(ns)
    await another.ensure(ns, DIMENSIONS, "another")
    await index.check(ns, FINGERPRINT)  # as its row, a second old at most, has it


async def test_no_vectors_of_the_old_model_are_written(
    index: Index, another: PostgresStore, ns: Namespace
) -> None:
    await make_anew(index, another, ns)
    with pytest.raises(FingerprintMismatch):
        await index.upsert(ns, records(1), FINGERPRINT)
    assert await count(another, ns) == 0


async def test_no_search_is_done_by_a_vector_of_the_old_model(
    index: Index, another: PostgresStore, ns: Namespace
) -> None:
    """Nor when it is done again alone, for the sake of the others in its batch."""
    other = Namespace(ns.tenant, "other")
    await index.ensure(other, DIMENSIONS, FINGERPRINT)
    await another.upsert(other, records(1), FINGERPRINT)
    await make_anew(index, another, ns)
    searches = [IndexSearch(VectorQuery(space, EAST, 3), FINGERPRINT) for space in (ns, other)]
    found = await index.search(searches, 30, Origin(ns.tenant))
    assert isinstance(found, SearchAnswers)
    refusal, hits = found.answers
    assert isinstance(refusal, FingerprintMismatch)
    assert isinstance(hits, list)
    assert len(hits) == 1
