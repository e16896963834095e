"""Vectors as pgvector takes them: of unit length, in its binary form, and in an index.

Text would cost a search 0.5 ms of parsing (384 dimensions).
"""

import struct

import numpy as np
from psycopg import AsyncConnection, sql
from psycopg.adapt import Dumper
from psycopg.pq import Format
from psycopg.rows import TupleRow
from psycopg.types import TypeInfo

from deployments.stores.base import Vector
from deployments.stores.records import checked_vector

# Above this an HNSW index takes no halfvec; the first so many dimensions are indexed then.
_INDEXED_DIMENSIONS = 4_000


def unit_vector(vector: Vector | None, dimensions: int) -> Vector:
    """Return the vector as float32 [dimensions] of unit length. Raises InvalidRequest."""
    array = checked_vector(vector, dimensions).astype(np.float64)
    return (array / np.linalg.norm(array)).astype(np.float32)


def indexed(vector: sql.Composable, dimensions: int) -> sql.Composed:
    """Return the expression of a vector that the HNSW index is made of.

    halfvec halves the index at the same recall; the results are ordered by `vector` itself.
    """
    if dimensions <= _INDEXED_DIMENSIONS:
        return sql.SQL("({}::halfvec({}))").format(vector, sql.Literal(dimensions))
    return sql.SQL("(subvector({}, 1, {size})::halfvec({size}))").format(
        vector, size=sql.Literal(_INDEXED_DIMENSIONS)
    )


class _VectorDumper(Dumper):
    """The binary form: the dimensions and a zero as 16-bit integers, then float32, big-endian."""

    format = Format.BINARY

    def dump(self, obj: Vector) -> bytes:
        return struct.pack(">HH", obj.size, 0) + obj.astype(">f4").tobytes()


async def register_vectors(connection: AsyncConnection[TupleRow]) -> None:
    """Let numpy arrays be parameters. The type's id differs between databases."""
    info = await TypeInfo.fetch(connection, "vector")
    if info is None:
        raise LookupError("the type 'vector' is not on the search path of the database's user")
    dumper = type("_VectorDumper", (_VectorDumper,), {"oid": info.oid})
    connection.adapters.register_dumper(np.ndarray, dumper)
