"""The checks and the forms common to every adapter: what a record must be, and how it is kept.

Metadata is kept as one JSON text beside whatever an engine needs to filter by, so that it comes
back as it went in. Knows no engine.
"""

import contextlib
import json
from collections.abc import AsyncGenerator, Sequence
from typing import cast

import numpy as np

from deployments.errors import InvalidRequest
from deployments.stores.base import Filter, Metadata, Page, Record, Vector, VectorQuery
from deployments.stores.filters import check_filter, check_scalar, check_text

# An answer between replicas has at most 64 MiB, and a document may have 4 MB.
PAGE_BYTES = 16 * 1024 * 1024
# How many records a scan reads at a time: of the largest, a page reads no more than these too many.
SCAN_RECORDS = 128


def last_wins(records: Sequence[Record]) -> list[Record]:
    """One record an id: the last of each."""
    return list({record.id: record for record in records}.values())


def checked_vector(vector: Vector | None, dimensions: int) -> Vector:
    """The vector as float32 [dimensions]; InvalidRequest if it has no direction of that size."""
    if vector is None:
        raise InvalidRequest("a record needs its vector", param="vector")
    array = np.ascontiguousarray(vector, dtype=np.float32)
    if array.shape != (dimensions,):
        raise InvalidRequest(
            f"the vector has {array.size} dimensions, the collection {dimensions}", param="vector"
        )
    if not np.isfinite(array).all() or not array.any():
        raise InvalidRequest("a vector must be finite and not zero", param="vector")
    return array


def check_records(records: Sequence[Record], dimensions: int) -> None:
    """Raises InvalidRequest for the first record that no engine could keep."""
    for record in records:
        check_text(record.id, param="id")
        check_text(record.text, param="text")
        checked_vector(record.vector, dimensions)
        for field, value in record.metadata.items():
            check_text(field, param="metadata")
            if isinstance(value, list):
                for element in value:
                    check_text(element, param="metadata")
            elif value is not None:
                check_scalar(value, param="metadata")


def check_query(query: VectorQuery) -> None:
    """Raises InvalidRequest for a question no engine could answer; the vector is checked apart."""
    if query.k < 1:
        raise InvalidRequest("k must be at least 1", param="k")
    check_filter(query.where)


def check_delete_target(ids: Sequence[str] | None, where: Filter | None) -> None:
    """Raises ValueError for both or neither, InvalidRequest for a filter that is not one."""
    if (ids is None) == (where is None):
        raise ValueError("delete takes either ids or a filter")
    check_filter(where)


def check_limit(limit: int) -> None:
    if limit < 1:
        raise InvalidRequest("limit must be at least 1", param="limit")


async def fill_page(found: AsyncGenerator[tuple[Record | None, str | None], None]) -> Page:
    """A page of what is found, or of as much of it as reaches PAGE_BYTES.

    Each record comes with the cursor to what follows it, and is None if it was deleted meanwhile.
    """
    records: list[Record] = []
    size = 0
    cursor: str | None = None
    async with contextlib.aclosing(found):
        async for record, cursor in found:  # noqa: B007 # the last one is returned
            if record is not None:
                records.append(record)
                size += size_of(record)
            if size >= PAGE_BYTES:
                break
    return Page(records, cursor)


def size_of(record: Record) -> int:
    """The bytes of its text, its metadata and its tokens."""
    written = record.text.encode(), dump_metadata(record.metadata).encode(), record.tokens or b""
    return sum(map(len, written))


def dump_metadata(metadata: Metadata) -> str:
    return json.dumps(metadata, ensure_ascii=False, separators=(",", ":"))


def load_metadata(text: str) -> Metadata:
    return cast(Metadata, json.loads(text))
