"""The Qdrant adapter alone: an unreachable server, and the wire format."""

from typing import Any

import pytest
from qdrant_client import models
from qdrant_client.conversions.conversion import GrpcToRest, RestToGrpc

from deployments.errors import StoreUnavailable
from deployments.stores.base import And, Compare, Filter, Namespace, Not, Or, VectorQuery
from deployments.stores.qdrant.filters import to_filter
from deployments.stores.qdrant.markers import Marker
from deployments.stores.qdrant.store import QdrantStore
from tests.unit.stores.made import records, unit


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
