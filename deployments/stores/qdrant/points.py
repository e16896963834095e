"""Conversion of records to Qdrant points and back, and of queries to requests.

All requests for documents get their filter here, so none can lack the namespace. Knows no client.
"""

from base64 import b64decode, b64encode
from collections.abc import Sequence

from qdrant_client import models

from deployments.stores.base import Filter, Record, VectorQuery
from deployments.stores.qdrant.filters import filter_payload, to_filter
from deployments.stores.qdrant.markers import Marker
from deployments.stores.records import checked_vector, dump_metadata, load_metadata

RETURNED = ["id", "text", "metadata"]
_TOKENS = "rerank_tokens"


def filter_of(
    marker: Marker, where: Filter | None = None, ids: Sequence[str] | None = None
) -> models.Filter:
    """Return a filter for the collection's points that match `where`, or have one of `ids`."""
    own: list[models.Condition] = [
        models.FieldCondition(key="namespace", match=models.MatchValue(value=marker.namespace))
    ]
    if where is not None:
        own.append(to_filter(where))
    if ids is not None:
        own.append(models.HasIdCondition(has_id=[marker.point_id(id_) for id_ in ids]))
    return models.Filter(must=own)


def to_request(marker: Marker, query: VectorQuery) -> models.QueryRequest:
    return models.QueryRequest(
        query=checked_vector(query.vector, marker.dimensions).tolist(),
        filter=filter_of(marker, query.where),
        limit=query.k,
        with_payload=[*RETURNED, _TOKENS],
    )


def to_point(marker: Marker, record: Record) -> models.PointStruct:
    return models.PointStruct(
        id=marker.point_id(record.id),
        vector=checked_vector(record.vector, marker.dimensions).tolist(),
        payload={
            "namespace": marker.namespace,
            "id": record.id,
            "text": record.text,
            "metadata": dump_metadata(record.metadata),
            **({} if record.tokens is None else {_TOKENS: b64encode(record.tokens).decode()}),
            **filter_payload(record.metadata),
        },
    )


def to_record(point: models.Record | models.ScoredPoint) -> Record:
    payload = point.payload or {}
    tokens = payload.get(_TOKENS)
    return Record(
        payload["id"],
        payload["text"],
        load_metadata(payload["metadata"]),
        tokens=None if tokens is None else b64decode(tokens),
    )
