"""Conversion of records to rows of an Arrow table, and back.

Knows the columns of a table, and nothing of commits.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]  # ships no annotations

from deployments.stores.base import Collection, Hit, Record
from deployments.stores.lancedb.filters import COLUMNS, filter_columns
from deployments.stores.records import checked_vector, dump_metadata, load_metadata

_FINGERPRINT = b"winnow.fingerprint"
_DIMENSIONS = b"winnow.dimensions"
# Without a declared key, four writers upserting the same 520 ids left 120 of them twice. It is part
# of the schema, so it holds from the table's first version on.
_PRIMARY_KEY = {"lance-schema:unenforced-primary-key": "true"}
RETURNED = ["id", "text", "metadata"]
# Missing in tables of earlier releases.
_TOKENS = "rerank_tokens"

Ranking = list[tuple[str, float]]


def table_schema(dimensions: int, fingerprint: str) -> pa.Schema:
    return pa.schema(
        [
            pa.field("id", pa.string(), nullable=False, metadata=_PRIMARY_KEY),
            pa.field("text", pa.string(), nullable=False),
            pa.field("metadata", pa.string(), nullable=False),
            *(pa.field(name, pa.string(), nullable=False) for name in COLUMNS),
            pa.field(_TOKENS, pa.binary()),
            pa.field("vector", pa.list_(pa.float32(), dimensions), nullable=False),
        ],
        metadata={_FINGERPRINT: fingerprint.encode(), _DIMENSIONS: str(dimensions).encode()},
    )


def collection_of(name: str, schema: pa.Schema) -> Collection:
    """Return the collection that the table's schema describes, without its size."""
    stored = schema.metadata
    return Collection(name, int(stored[_DIMENSIONS]), stored[_FINGERPRINT].decode())


def to_rows(records: Sequence[Record], schema: pa.Schema) -> pa.Table:
    """Return one row a record; the records must be valid."""
    filters = [filter_columns(record.metadata) for record in records]
    dimensions = schema.field("vector").type.list_size
    vectors = [checked_vector(record.vector, dimensions) for record in records]
    columns: dict[str, Any] = {
        "id": [record.id for record in records],
        "text": [record.text for record in records],
        "metadata": [dump_metadata(record.metadata) for record in records],
        **{name: [columns[name] for columns in filters] for name in COLUMNS},
        _TOKENS: [record.tokens for record in records],
        "vector": pa.FixedSizeListArray.from_arrays(
            pa.array(np.concatenate(vectors), pa.float32()), dimensions
        ),
    }
    return pa.table({name: columns[name] for name in schema.names}, schema=schema)


def search_columns(schema: pa.Schema) -> list[str]:
    """Return the names of the columns that a search returns of a document."""
    return [*RETURNED, *(name for name in schema.names if name == _TOKENS)]


def to_records(rows: pa.Table) -> Iterator[Record]:
    """Yield the records in the order of the rows."""
    columns = [rows.column(name).to_pylist() for name in RETURNED]
    has_tokens = _TOKENS in rows.schema.names
    columns.append(rows.column(_TOKENS).to_pylist() if has_tokens else [None] * rows.num_rows)
    for id_, text, metadata, tokens in zip(*columns, strict=True):
        yield Record(id_, text, load_metadata(metadata), tokens=tokens)


def to_hits(rows: pa.Table, queries: int) -> list[list[Hit]]:
    """Return each query's hits, nearest first."""
    records = {record.id: record for record in to_records(rows)}
    return [
        [Hit(records[id_], score) for id_, score in ranking]
        for ranking in to_rankings(rows, queries)
    ]


def to_rankings(rows: pa.Table, queries: int) -> list[Ranking]:
    """Return each query's ids with their scores, nearest first.

    The engine adds the query's number to each row, unless there was only one query.
    """
    numbers = [0] * rows.num_rows
    if "query_index" in rows.schema.names:
        numbers = rows.column("query_index").to_pylist()
    scores = np.clip(1.0 - rows.column("_distance").to_numpy(), -1.0, 1.0).tolist()
    rankings: list[Ranking] = [[] for _ in range(queries)]
    for number, id_, score in zip(numbers, rows.column("id").to_pylist(), scores, strict=True):
        rankings[number].append((id_, score))
    return rankings
