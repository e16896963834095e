"""The Qdrant adapter alone: an unreachable server, and the wire format."""

from typing import Any

import pytest
from qdrant_client import models
from qdrant_client.conversions.conversion import GrpcToRest, RestToGrpc

from deployments.errors import FingerprintMismatch, NotFound, StoreUnavailable
from deployments.stores.base import And, Compare, Filter, Namespace, Not, Or, VectorQuery
from deployments.stores.qdrant.filters import to_filter
from deployments.stores.qdrant.markers import Marker, QdrantRegistry
from deployments.stores.qdrant.store import IN_MEMORY, QdrantStore
from tests.unit.stores.made import DIMENSIONS, FINGERPRINT, count, records, unit


@pytest.mark.parametrize("prefer_grpc", [True, False], ids=["grpc", "http"])
async def test_a_server_out_of_reach_is_unavailable(
    unused_tcp_port: int, prefer_grpc: bool
) -> None:
    ns = Namespace("t", "docs")
    url = f"http://127.0.0.1:{unused_tcp_port}"
    store = QdrantStore(url, prefer_grpc=prefer_grpc)
    for call in (
        store.ensure(ns, 4, "fp"),
        store.upsert(ns, records(1)),
        store.search([VectorQuery(ns, unit(1, 0, 0, 0), 1)]),
        store.health(),
    ):
        with pytest.raises(StoreUnavailable):
            await call
    await store.close()


@pytest.mark.parametrize(
    "where",
    [
        Compare("a.b", "in", ("x", 1, True)),
        Compare("day", "gte", "2026-01-01"),
        Compare("n", "lt", 2**60),
        And((Not(Compare("a", "eq", 1)), Or(()), Or((Compare("b", "ne", "x"), And(()))))),
    ],
)
def test_a_filter_survives_the_wire(where: Filter) -> None:
    sent = models.Filter(must=[to_filter(where)])
    received = GrpcToRest.convert_filter(RestToGrpc.convert_filter(sent))
    assert without_empty(received.model_dump()) == without_empty(sent.model_dump())


def without_empty(tree: Any) -> Any:
    """Drop empty lists: the wire format does not tell them from missing ones."""
    if isinstance(tree, dict):
        pruned = {key: without_empty(value) for key, value in tree.items()}
        return {key: value for key, value in pruned.items() if value is not None and value != []}
    return [without_empty(value) for value in tree] if isinstance(tree, list) else tree


def test_a_model_has_one_collection_and_a_generation_its_own_points() -> None:
    first = Marker("a", "docs", "fp", 4, "1")
    assert first.engine_collection == Marker("b", "x", "fp", 4, "2").engine_collection
    assert first.engine_collection != Marker("a", "docs", "fp'", 4, "1").engine_collection
    assert first.point_id("d") == Marker("a", "docs", "fp", 4, "1").point_id("d")
    assert first.point_id("d") != Marker("a", "docs", "fp", 4, "2").point_id("d")


_NS = Namespace("t", "docs")


async def two_replicas() -> tuple[QdrantStore, QdrantStore]:
    """Two stores over one Qdrant, each with markers of its own; both have just seen `_NS`."""
    here, there = (QdrantStore(IN_MEMORY, replication_factor=1) for _ in range(2))
    await here.ensure(_NS, DIMENSIONS, FINGERPRINT)
    there._opened = here._client, QdrantRegistry(here._client, None)
    await there.fingerprint(_NS)
    return here, there


async def points_of(store: QdrantStore) -> int:
    marker = Marker(_NS.tenant, _NS.collection, FINGERPRINT, DIMENSIONS, "")
    return (await store._client.count(marker.engine_collection)).count


async def test_an_upsert_reaches_the_collection_that_was_made_anew_elsewhere() -> None:
    here, there = await two_replicas()
    await here.drop(_NS)
    await here.ensure(_NS, DIMENSIONS, FINGERPRINT)
    await there.upsert(_NS, records(3))
    assert await count(here, _NS) == 3
    assert await points_of(here) == 3, "nothing is left in the old one"


async def test_an_upsert_into_a_collection_that_was_dropped_elsewhere_is_refused() -> None:
    here, there = await two_replicas()
    await here.drop(_NS)
    with pytest.raises(NotFound):
        await there.upsert(_NS, records(3))
    assert await points_of(here) == 0


async def test_an_upsert_into_a_collection_that_is_another_models_now_is_refused() -> None:
    here, there = await two_replicas()
    await here.drop(_NS)
    await here.ensure(_NS, DIMENSIONS, "another model")
    with pytest.raises(FingerprintMismatch):
        await there.upsert(_NS, records(3))


async def test_a_collection_that_was_made_anew_elsewhere_is_deleted_from_and_dropped() -> None:
    here, there = await two_replicas()
    await here.drop(_NS)
    await here.ensure(_NS, DIMENSIONS, FINGERPRINT)
    await here.upsert(_NS, records(3))
    assert await there.delete(_NS, ids=["d0"]) == 1
    await here.drop(_NS)
    await here.ensure(_NS, DIMENSIONS, FINGERPRINT)
    await there.drop(_NS)
    with pytest.raises(NotFound):
        await here._registry.newest(_NS)


class Calls:
    """A client that notes what is deleted, and how, and which collections are made."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.deleted: list[tuple[bool, Any]] = []
        self.made: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def delete(self, name: str, points: Any, **options: Any) -> Any:
        self.deleted.append((options["wait"], points))
        return await self._client.delete(name, points, **options)

    async def create_payload_index(self, *_: Any, **__: Any) -> None:
        """Nothing: local mode warns that it has none."""

    async def create_collection(self, name: str, **options: Any) -> Any:
        self.made[name] = options
        return await self._client.create_collection(name, options["vectors_config"])


async def noting() -> tuple[QdrantStore, Calls]:
    store = QdrantStore(IN_MEMORY, replication_factor=1)
    calls = Calls(store._client)
    client: Any = calls
    store._opened = client, QdrantRegistry(client, None)
    return store, calls


async def test_no_deletion_waits_for_more_than_the_server_does_in_time() -> None:
    store, calls = await noting()
    await store.ensure(_NS, DIMENSIONS, FINGERPRINT)
    await store.upsert(_NS, records(2_500))
    assert await store.delete(_NS, where=Compare("at", "gte", 10)) == 2_490
    assert max(len(points.points) for _, points in calls.deleted) <= 1_000
    calls.deleted.clear()
    await store.drop(_NS)
    waited = [points for wait, points in calls.deleted if wait]
    assert all(isinstance(points, models.PointIdsList | list) for points in waited)
    assert await points_of(store) == 0


async def test_documents_have_a_graph_for_each_namespace_and_none_over_all() -> None:
    store, calls = await noting()
    store._settings = {"shard_number": 1}
    await store.ensure(_NS, DIMENSIONS, FINGERPRINT)
    [options] = [made for name, made in calls.made.items() if name != "winnow_registry"]
    assert (options["hnsw_config"].m, options["hnsw_config"].payload_m) == (0, 16)
    assert options["shard_number"] == 1


async def test_markers_that_are_kept_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deployments.stores.qdrant.markers._MOST_CACHED", 2)
    store = QdrantStore(IN_MEMORY, replication_factor=1)
    for number in range(5):
        await store.ensure(Namespace("t", f"docs{number}"), DIMENSIONS, FINGERPRINT)
        await store.fingerprint(Namespace("t", f"docs{number}"))
    assert len(store._registry._read) == 2
