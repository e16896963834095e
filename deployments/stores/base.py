"""What Winnow asks of a vector store: the `VectorStore` protocol and the values that cross it.

Knows no engine, no Ray and no HTTP. An adapter adds the tenant to whatever it asks of its engine;
a caller cannot leave it out, because a `Namespace` is the only way to name a collection.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from deployments.errors import NotFound, WinnowError

# Adapters make names of files and keys of these, and tell tenants apart by them: what is not in
# the patterns ('.', '/') is theirs to separate and to escape with.
TENANT_NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$"
COLLECTION_NAME = r"^[a-z0-9][a-z0-9_-]{0,62}$"

Scalar = str | int | float | bool
Metadata = dict[str, Scalar | list[str] | None]
Vector = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Namespace:
    """One tenant's collection. ValueError for a name that could mean another's."""

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
    """A collection as its owner sees it. `fingerprint` names the model that made its vectors."""

    name: str
    dimensions: int
    fingerprint: str
    documents: int = 0


@dataclass(frozen=True, slots=True)
class Record:
    """A stored document. `vector` is float32 of shape [dimensions], unit length; it is written
    and searched by, and does not come back. `tokens` are the caller's to read (`document_tokens`);
    they come back from a search alone."""

    id: str
    text: str
    metadata: Metadata
    vector: Vector | None = None
    tokens: bytes | None = None


@dataclass(frozen=True, slots=True)
class Compare:
    """`field op value`; a document without the field, or with one of another type, does not match
    (`ne` and `not_in` are the complements: they do match it)."""

    field: str
    op: Literal["eq", "ne", "gt", "gte", "lt", "lte", "in", "not_in"]
    value: Scalar | tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class And:
    """True where every part is (true for no parts)."""

    parts: tuple["Filter", ...]


@dataclass(frozen=True, slots=True)
class Or:
    """True where at least one part is (false for no parts)."""

    parts: tuple["Filter", ...]


@dataclass(frozen=True, slots=True)
class Not:
    """True where its part is not."""

    part: "Filter"


Filter = Compare | And | Or | Not


@dataclass(frozen=True, slots=True)
class VectorQuery:
    """One nearest-neighbour question: the `k` records of `ns` most similar to `vector`."""

    ns: Namespace
    vector: Vector
    k: int
    where: Filter | None = None


@dataclass(frozen=True, slots=True)
class IndexSearch:
    """A query by a vector that the model of this fingerprint made."""

    query: VectorQuery
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Hit:
    """A record and its cosine similarity to the query, in [-1, 1]."""

    record: Record
    score: float


# What comes of a search that was asked with others: its hits, its own error, or None where the
# answer had no room for it beside theirs: ask it again, alone.
SearchOutcome = list[Hit] | WinnowError | None


@dataclass(frozen=True, slots=True)
class Page:
    """A slice of a scan; `cursor` is None after the last one."""

    records: list[Record]
    cursor: str | None


Durability = Literal["fsync", "replicated", "page-cache", "memory"]


class VectorStore(Protocol):
    """A place for vectors, searched in batches.

    Every method raises NotFound for a collection that is not there, StorageFull when the disk is.
    """

    async def ensure(self, ns: Namespace, dimensions: int, fingerprint: str) -> bool:
        """Create the collection unless it is there; True if it was made now.

        Raises FingerprintMismatch if it is there with another fingerprint or other dimensions.
        """
        ...

    async def describe(self, ns: Namespace) -> Collection:
        """With an exact count of its documents."""
        ...

    async def fingerprint(self, ns: Namespace) -> str:
        """That of the collection, for a look before each write and search: cheap, and at most a
        second old."""
        ...

    async def collections(self, tenant: str) -> list[Collection]: ...

    async def upsert(self, ns: Namespace, records: Sequence[Record]) -> None:
        """Write records whole, replacing those of equal id. Returns only after they are durable.

        Of two records of one id in one call the last wins.
        """
        ...

    async def delete(
        self, ns: Namespace, ids: Sequence[str] | None = None, where: Filter | None = None
    ) -> int:
        """Delete by ids, or by filter, and return how many went. Durable on return."""
        ...

    async def get(self, ns: Namespace, ids: Sequence[str]) -> list[Record | None]:
        """The records in the order of `ids`, None for those that are not there."""
        ...

    async def search(self, queries: Sequence[VectorQuery]) -> list[list[Hit]]:
        """Answer each query, best first; queries may name different collections."""
        ...

    async def scan(self, ns: Namespace, cursor: str | None, limit: int) -> Page:
        """The records after `cursor`, at most `limit`; fewer where large ones fill the page
        (`records.PAGE_BYTES`). Only a cursor of None says that it was the last."""
        ...

    async def drop(self, ns: Namespace) -> None: ...

    async def health(self) -> Durability: ...

    async def close(self) -> None: ...
