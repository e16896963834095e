"""Conversion of records to rows of a collection's table, and back."""

from psycopg import sql
from psycopg.rows import TupleRow

from deployments.stores.base import Record
from deployments.stores.postgres.filters import ranges_of, terms_of
from deployments.stores.postgres.vectors import unit_vector
from deployments.stores.records import dump_metadata, load_metadata

READ = sql.SQL("id, body, metadata")
FOUND = sql.SQL("id, body, metadata, tokens")

# An upsert of equal rows writes nothing: an update of what is indexed writes the HNSW index again.
# `xmax` is 0 for a row that was inserted.
UPSERT = sql.SQL("""
    INSERT INTO {table} AS old (id, body, metadata, tokens, v, terms, ranges)
    VALUES (%s, %s, %s, %s, %s, %s::text[], %s::jsonb)
    ON CONFLICT (id) DO UPDATE SET body = excluded.body, metadata = excluded.metadata,
      tokens = excluded.tokens, v = excluded.v, terms = excluded.terms, ranges = excluded.ranges
    WHERE (old.body, old.metadata, old.tokens, old.v)
      IS DISTINCT FROM (excluded.body, excluded.metadata, excluded.tokens, excluded.v)
    RETURNING xmax = 0
""")


def to_row(record: Record, dimensions: int) -> tuple[object, ...]:
    """Return the parameters of UPSERT."""
    return (
        record.id,
        record.text,
        dump_metadata(record.metadata),
        record.tokens,
        unit_vector(record.vector, dimensions),
        terms_of(record.metadata),
        ranges_of(record.metadata),
    )


def to_record(row: TupleRow) -> Record:
    """Convert a row that begins with READ's or FOUND's columns."""
    id_, body, metadata, *rest = row
    tokens = rest[0] if rest else None
    return Record(id_, body, load_metadata(metadata), tokens=tokens)


def bytes_of(row: TupleRow) -> int:
    """Return what `size_of` returns of the record of a row that begins with FOUND's columns."""
    _, body, metadata, tokens, *_ = row
    return len(body.encode()) + len(metadata.encode()) + len(tokens or b"")
