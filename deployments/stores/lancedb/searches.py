"""One search of a table, for one query or several that differ only in their vectors.

Knows how the engine is asked, and when documents are read in parts, not commits.
"""

from collections.abc import Sequence

from deployments.stores.base import Hit, Record, VectorQuery
from deployments.stores.lancedb.filters import one_of, to_expression
from deployments.stores.lancedb.open_tables import OpenTable
from deployments.stores.lancedb.rows import (
    Ranking,
    search_columns,
    to_hits,
    to_rankings,
    to_records,
)
from deployments.stores.records import (
    ANSWER_BYTES,
    check_fingerprint,
    checked_vector,
    size_of,
    too_large,
)

# The most documents that are read at a time, of 4 MB at most each: the engine reads all that it is
# asked for before it answers anything.
_READ_DOCUMENTS = 64


async def nearest(table: OpenTable, queries: Sequence[VectorQuery]) -> list[list[Hit]]:
    """Return each query's hits, nearest first, by one call of the engine.

    Raises PayloadTooLarge for a query of many hits that have over ANSWER_BYTES.
    """
    first = queries[0]
    check_fingerprint(first.ns, table.collection.fingerprint, first.fingerprint)
    vectors = [checked_vector(q.vector, table.collection.dimensions) for q in queries]
    search = table.engine.query().nearest_to(vectors).distance_type("cosine")
    # Search 20 partitions of an index, and then more without limit (0) until k are found: a filter
    # that few records pass would otherwise miss most of them.
    search = search.minimum_nprobes(20).maximum_nprobes(0).limit(first.k)
    if first.where is not None:
        search = search.where(to_expression(first.where))
    if first.k <= _READ_DOCUMENTS:
        rows = await search.select([*search_columns(table.schema), "_distance"]).to_arrow()
        return to_hits(rows, len(queries))
    rows = await search.select(["id", "_distance"]).to_arrow()
    rankings = to_rankings(rows, len(queries))
    return [await _read(table, first, ranking) for ranking in rankings]


async def _read(table: OpenTable, query: VectorQuery, ranking: Ranking) -> list[Hit]:
    """Read the documents that were found, but for those that were deleted meanwhile."""
    columns = search_columns(table.schema)
    records: dict[str, Record] = {}
    size_bytes = 0
    for start in range(0, len(ranking), _READ_DOCUMENTS):
        wanted = one_of([id_ for id_, _ in ranking[start : start + _READ_DOCUMENTS]])
        if query.where is not None:  # they may have changed, too
            wanted = wanted & to_expression(query.where)
        rows = await table.engine.query().where(wanted).select(columns).to_arrow()
        for record in to_records(rows):
            records[record.id] = record
            size_bytes += size_of(record)
        if size_bytes > ANSWER_BYTES:
            raise too_large("top_k")
    return [Hit(records[id_], score) for id_, score in ranking if id_ in records]
