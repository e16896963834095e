"""Record handling that all adapters share: validation, paging and metadata as JSON.

Metadata is stored as one JSON text, beside the columns an engine filters by, so that it is returned
exactly as it was written. Knows no engine.
"""

import contextlib
import json
from collections.abc import AsyncGenerator, Sequence
from typing import cast

import numpy as np

from deployments.errors import FingerprintMismatch, InvalidRequest, PayloadTooLarge
from deployments.stores.base import Filter, Metadata, Namespace, Page, Record, Vector, VectorQuery
from deployments.stores.filters import check_filter, check_scalar, check_text

# A message between replicas is at most 64 MiB, a document 4 MB.
ANSWER_BYTES = 48 * 1024 * 1024
PAGE_BYTES = 16 * 1024 * 1024
# Records that a scan reads at a time, and so the most that it reads past the end of a page.
SCAN_RECORDS = 128


def last_wins(records: Sequence[Record]) -> list[Record]:
    """Drop all but the last record of each id."""
    return list({record.id: record for record in records}.values())


def checked_vector(vector: Vector | None, dimensions: int) -> Vector:
    """Return the vector as float32 [dimensions].

    Raises InvalidRequest for a missing or zero vector, another size, or values not finite.
    """
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


def check_fingerprint(ns: Namespace, stored: str, given: str | None) -> None:
    """Raise FingerprintMismatch if one is given and it is not that of the collection."""
    if given is not None and given != stored:
        raise FingerprintMismatch.between(ns.collection, stored, given)


def check_records(records: Sequence[Record], dimensions: int) -> None:
    """Raise InvalidRequest for the first record that cannot be stored."""
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
    """Raise InvalidRequest for a malformed query; its vector is not checked."""
    if query.k < 1:
        raise InvalidRequest("k must be at least 1", param="k")
    check_filter(query.where)


def check_delete_target(ids: Sequence[str] | None, where: Filter | None) -> None:
    """Raise ValueError unless one of both is given, InvalidRequest for a malformed filter."""
    if (ids is None) == (where is None):
        raise ValueError("delete takes either ids or a filter")
    check_filter(where)


def check_limit(limit: int) -> None:
    if limit < 1:
        raise InvalidRequest("limit must be at least 1", param="limit")


async def fill_page(found: AsyncGenerator[tuple[Record | None, str | None], None]) -> Page:
    """Collect records into a page until `found` ends or PAGE_BYTES are reached.

    Each record comes with the cursor to the next one, and is None if it was deleted meanwhile.
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
    """Return the bytes of the record's text, metadata and tokens."""
    parts = record.text.encode(), dump_metadata(record.metadata).encode(), record.tokens or b""
    return sum(map(len, parts))


def too_large(param: str) -> PayloadTooLarge:
    """Return the error of an answer with over ANSWER_BYTES, which `param` can make smaller."""
    return PayloadTooLarge(
        f"the documents have more than {ANSWER_BYTES // 2**20} MiB in all: ask for fewer of them"
        f" with {param}",
        param=param,
    )


def dump_metadata(metadata: Metadata) -> str:
    return json.dumps(metadata, ensure_ascii=False, separators=(",", ":"))


def load_metadata(text: str) -> Metadata:
    return cast(Metadata, json.loads(text))
