"""The `VectorStore` protocol that every store implements, and the values that cross it.

A `Namespace` is the only way to name a collection, so no caller can leave the tenant out; an
adapter adds it to every request to its engine. Knows no engine, no Ray and no HTTP.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from deployments.errors import NotFound, WinnowError

# Adapters build file names and keys from these, and keep tenants apart by them. Characters outside
# the patterns ('.', '/') are free for adapters to separate and escape with.
TENANT_NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$"
COLLECTION_NAME = r"^[a-z0-9][a-z0-9_-]{0,62}$"

Scalar = str | int | float | bool
Metadata = dict[str, Scalar | list[str] | None]
Vector = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Namespace:
    """One tenant's collection. Raises ValueError for a name outside the patterns."""

    tenant: str
    collection: str

    def __post_init__(self) -> None:
        if not re.fullmatch(TENANT_NAME, self.tenant):
            raise ValueError(f"a tenant cannot be named {self.tenant!r}")
        if not re.fullmatch(COLLECTION_NAME, self.collection):
            raise ValueError(f"a collection cannot be named {self.collection!r}")

    def not_found(self) -> NotFound:
        return NotFound(f"there is no collection '{self.collection}'", param="collection")


@dataclass(frozen=True, slots=True)
class Collection:
    """A collection's properties. `fingerprint` identifies the model that made its vectors."""

    name: str
    dimensions: int
    fingerprint: str
    documents: int = 0


@dataclass(frozen=True, slots=True)
class Record:
    """A stored document.

    `vector` is float32 [dimensions] of unit length; it is needed to write and never returned.
    `tokens` are opaque to a store (`text.stored_tokens` reads them) and returned by `search` only.
    """

    id: str
    text: str
    metadata: Metadata
    vector: Vector | None = None
    tokens: bytes | None = None


@dataclass(frozen=True, slots=True)
class Compare:
    """The condition `field op value`.

    A document that lacks the field, or has it with another type, does not match; it does match
    `ne` and `not_in`, which are the complements of `eq` and `in`.
    """

    field: str
    op: Literal["eq", "ne", "gt", "gte", "lt", "lte", "in", "not_in"]
    value: Scalar | tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class And:
    """A conjunction; true without parts."""

    parts: tuple["Filter", ...]


@dataclass(frozen=True, slots=True)
class Or:
    """A disjunction; false without parts."""

    parts: tuple["Filter", ...]


@dataclass(frozen=True, slots=True)
class Not:
    """A negation."""

    part: "Filter"


Filter = Compare | And | Or | Not


@dataclass(frozen=True, slots=True)
class VectorQuery:
    """A nearest-neighbour query: the `k` records of `ns` most similar to `vector`.

    `fingerprint`, if given, identifies the model that made the vector: only a collection of the
    same is searched.
    """

    ns: Namespace
    vector: Vector
    k: int
    where: Filter | None = None
    fingerprint: str | None = None


@dataclass(frozen=True, slots=True)
class IndexSearch:
    """A VectorQuery to the Index, with the fingerprint of the model that made its vector."""

    query: VectorQuery
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Hit:
    """A record and its cosine similarity to the query, in [-1, 1]."""

    record: Record
    score: float


# The outcome of one search in a batch: its hits, its own error, or None if its hits did not fit
# into the batch's answer and it must be sent again alone.
SearchAnswer = list[Hit] | WinnowError | None


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a scan; `cursor` leads to the next one and is None on the last."""

    records: list[Record]
    cursor: str | None


Durability = Literal["fsync", "replicated", "page-cache", "memory"]


class VectorStore(Protocol):
    """A store of collections of vectors, searched in batches.

    Every method raises NotFound for a missing collection, StorageFull when the disk is full, and
    StoreUnavailable when a server does not answer.
    """

    async def ensure(self, ns: Namespace, dimensions: int, fingerprint: str) -> bool:
        """Create the collection unless it exists. Return whether it was created.

        Raises FingerprintMismatch if it exists with another fingerprint or other dimensions.
        """
        ...

    async def describe(self, ns: Namespace) -> Collection:
        """Return the collection with an exact count of its documents."""
        ...

    async def fingerprint(self, ns: Namespace) -> str:
        """Return the collection's fingerprint, at most a second old.

        Cheap enough to be checked before each write and search.
        """
        ...

    async def collections(self, tenant: str) -> list[Collection]: ...

    async def upsert(
        self, ns: Namespace, records: Sequence[Record], fingerprint: str | None = None
    ) -> None:
        """Insert records, replacing those with the same ids; durable on return.

        Of two records with one id in one call, the last wins. Raises FingerprintMismatch if
        `fingerprint`, of the model that made the vectors, is given and not the collection's: a
        check before the call says nothing of a collection that is made anew after it.
        """
        ...

    async def delete(
        self, ns: Namespace, ids: Sequence[str] | None = None, where: Filter | None = None
    ) -> int:
        """Delete by ids or by filter. Return the number of deleted records; durable on return."""
        ...

    async def get(self, ns: Namespace, ids: Sequence[str]) -> list[Record | None]:
        """Return the records in the order of `ids`, None for missing ones."""
        ...

    async def search(self, queries: Sequence[VectorQuery]) -> list[list[Hit]]:
        """Return each query's hits, best first. Queries may be for different collections.

        Raises FingerprintMismatch if a query's is not its collection's.
        """
        ...

    async def scan(self, ns: Namespace, cursor: str | None, limit: int) -> Page:
        """Return at most `limit` records from `cursor` on (None: the first).

        A page ends early at `records.PAGE_BYTES`; only a cursor of None marks the last page.
        """
        ...

    async def drop(self, ns: Namespace) -> None: ...

    async def health(self) -> Durability:
        """Return how durable writes are. Raises StoreUnavailable if the store does not work."""
        ...

    async def close(self) -> None: ...
