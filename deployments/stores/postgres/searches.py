"""One search of a collection: over every row that passes, or over the HNSW index.

The choice is made here and not by the server's planner, which took the index for a filter that one
row in twenty passes: recall 0.73, where looking at all of them took 11 ms.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import cast

import numpy as np
from psycopg import sql
from psycopg.rows import TupleRow

from deployments.stores.base import Hit, Vector, VectorQuery
from deployments.stores.postgres.catalog import CollectionRow
from deployments.stores.postgres.connections import Connection
from deployments.stores.postgres.filters import Condition, to_condition
from deployments.stores.postgres.rows import FOUND, bytes_of, to_record
from deployments.stores.postgres.vectors import indexed, unit_vector
from deployments.stores.records import ANSWER_BYTES, too_large

# A collection is indexed once it has more floats than this, rows times dimensions. To compare so
# many with a query takes 10 to 20 ms of one core.
INDEXED_FLOATS = 8_000_000
# Where the index loses recall, so many times as many are compared, in about 60 ms.
_PATIENCE = 5
_FEW = 0.25  # the share of rows below which a filter leaves too few in the index's neighbourhoods
_MANY_HITS = 100
# Candidates from the index for each hit: it compares at half precision, and of filtered rows it
# stops at the first that pass.
_CANDIDATES, _FILTERED_CANDIDATES = 4, 8
_SAMPLE_ROWS = 1_000
# Rows that are read at a time: one by one takes longer, and each may have 4 MB.
_ROWS_READ = 16

_EXACT = sql.SQL("""
    SELECT {found}, v <=> %s AS distance FROM {table} WHERE {condition}
    ORDER BY distance, id LIMIT %s
""")
_APPROXIMATE = sql.SQL("""
    WITH candidates AS MATERIALIZED (
      SELECT {found}, v <=> %s AS distance FROM {table} WHERE {condition}
      ORDER BY {indexed} <=> {wanted} LIMIT %s
    )
    SELECT * FROM candidates ORDER BY distance, id LIMIT %s
""")
_SAMPLE = sql.SQL("""
    SELECT count(*), count(*) FILTER (WHERE {condition}) FROM {table} TABLESAMPLE SYSTEM (%s::real)
""")


@dataclass(frozen=True, slots=True)
class Search:
    """A query on a collection as it was last read.

    Up to `exact_floats`, rows times dimensions, are compared without the index.
    """

    row: CollectionRow
    vector: Vector
    k: int
    where: Condition | None
    exact_floats: int

    @classmethod
    def of(cls, row: CollectionRow, query: VectorQuery, exact_floats: int) -> "Search":
        """Raises InvalidRequest for a bad vector."""
        where = None if query.where is None else to_condition(query.where)
        vector = unit_vector(query.vector, row.dimensions)
        return cls(row, vector, query.k, where, exact_floats)

    async def run(self, connection: Connection) -> list[Hit]:
        """Return the hits, best first. Raises PayloadTooLarge."""
        if self.row.indexed and not await self._is_exact(connection):
            found = await self._approximate(connection)
            if len(found) == self.k:
                return list(map(_hit, found))
        return list(map(_hit, await self._exact(connection)))

    async def _is_exact(self, connection: Connection) -> bool:
        """Decide whether every row that passes is compared."""
        share = 1.0 if self.where is None else await self._share(connection, self.where)
        floats = self.row.documents * self.row.dimensions * share
        patient = self.k > _MANY_HITS or share < _FEW
        return floats <= self.exact_floats * (_PATIENCE if patient else 1)

    async def _share(self, connection: Connection, where: Condition) -> float:
        """Estimate the share of rows that pass, by a sample: the server's statistics may be old,
        and know nothing of ranges."""
        percent = min(100.0, 100.0 * _SAMPLE_ROWS / max(1, self.row.documents))
        query = _SAMPLE.format(condition=where.sql, table=self.row.table)
        cursor = await connection.execute(query, [*where.parameters, percent])
        rows, passed = await cursor.fetchone() or (0, 0)
        return float(passed / rows) if rows else 0.0

    async def _exact(self, connection: Connection) -> list[TupleRow]:
        where = self.where or to_condition(None)
        query = _EXACT.format(found=FOUND, table=self.row.table, condition=where.sql)
        return await _rows(connection, query, [self.vector, *where.parameters, self.k])

    async def _approximate(self, connection: Connection) -> list[TupleRow]:
        where = self.where or to_condition(None)
        candidates = self.k * (_FILTERED_CANDIDATES if self.where else _CANDIDATES)
        query = _APPROXIMATE.format(
            found=FOUND,
            table=self.row.table,
            condition=where.sql,
            indexed=indexed(sql.Identifier("v"), self.row.dimensions),
            wanted=indexed(sql.Placeholder(), self.row.dimensions),
        )
        parameters = [self.vector, *where.parameters, self.vector, candidates, self.k]
        return await _rows(connection, query, parameters)


async def _rows(
    connection: Connection, query: sql.Composed, parameters: list[object]
) -> list[TupleRow]:
    """Read the rows. Raises PayloadTooLarge at more than ANSWER_BYTES, and reads no further."""
    found: list[TupleRow] = []
    left_bytes = ANSWER_BYTES
    async with connection.cursor() as cursor:
        stream = cursor.stream(query, parameters, binary=True, size=_ROWS_READ)
        # Closed at once, or the connection would go back to the pool amid its query.
        async with aclosing(cast(AsyncGenerator[TupleRow], stream)) as rows:
            async for row in rows:
                left_bytes -= bytes_of(row)
                if left_bytes < 0:
                    raise too_large("top_k")
                found.append(row)
    return found


def _hit(row: TupleRow) -> Hit:
    *record, distance = row
    return Hit(to_record(tuple(record)), float(np.clip(1.0 - distance, -1.0, 1.0)))
