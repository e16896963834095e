"""What Winnow asks of a vector store: the `VectorStore` protocol and the values that cross it.

Knows no engine, no Ray and no HTTP. An adapter adds the tenant to whatever it asks of its engine;
a caller cannot leave it out, because a `Namespace` is the only way to name a collection.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Scalar = str | int | float | bool
Metadata = dict[str, Scalar | list[str] | None]
Vector = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Namespace:
    """One tenant's collection."""

    tenant: str
    collection: str


@dataclass(frozen=True, slots=True)
class Collection:
    """A collection as its owner sees it. `fingerprint` names the model that made its vectors."""

    name: str
    dimensions: int
    fingerprint: str
    documents: int = 0


@dataclass(frozen=True, slots=True)
class Record:
    """A stored document. `vector` is float32 of shape [dimensions], unit length."""

    id: str
    text: str
    metadata: Metadata
    vector: Vector | None = None


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
class Query:
    """One nearest-neighbour question: the `k` records of `ns` most similar to `vector`."""

    ns: Namespace
    vector: Vector
    k: int
    where: Filter | None = None
    with_vector: bool = False


@dataclass(frozen=True, slots=True)
class Hit:
    """A record and its cosine similarity to the query, in [-1, 1]."""

    record: Record
    score: float


@dataclass(frozen=True, slots=True)
class Page:
    """A slice of a scan; `cursor` is None after the last one."""

    records: list[Record]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class Maintenance:
    """What `maintain` did."""

    compacted: bool = False
    indexed: bool = False
    notes: list[str] = field(default_factory=list)


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

    async def describe(self, ns: Namespace) -> Collection: ...

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

    async def get(
        self, ns: Namespace, ids: Sequence[str], with_vector: bool = False
    ) -> list[Record | None]:
        """The records in the order of `ids`, None for those that are not there."""
        ...

    async def search(self, queries: Sequence[Query]) -> list[list[Hit]]:
        """Answer each query, best first; queries may name different collections."""
        ...

    async def scan(self, ns: Namespace, cursor: str | None, limit: int) -> Page: ...

    async def count(self, ns: Namespace, where: Filter | None = None) -> int: ...

    async def drop(self, ns: Namespace) -> None: ...

    async def maintain(self, ns: Namespace) -> Maintenance:
        """Compact and index. Heavy: runs its work outside the serving process where it can."""
        ...

    async def health(self) -> Durability: ...

    async def close(self) -> None: ...
