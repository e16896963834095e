"""Metadata filters in PostgreSQL: two columns to filter by, and conditions over them.

    terms   text[], every field with every value that it equals; `eq` and `in` find them by a GIN
            index. A long term is replaced by its hash: entries of the index have a limit.
    ranges  jsonb, numbers as float64 and the beginnings of strings, under their kind and field;
            strings compare by code point (collation C)

Fields and values reach SQL as parameters only.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import assert_never

from psycopg import sql

from deployments.stores.base import And, Compare, Filter, Metadata, Not, Or, Scalar
from deployments.stores.filters import (
    MAX_RANGE_BYTES,
    canonical,
    is_negative,
    values_of,
    wanted_values,
)

_MAX_TERM_BYTES = 128
_NUMBER, _STRING = "n", "s"
_SIGNS = {"gt": sql.SQL(">"), "gte": sql.SQL(">="), "lt": sql.SQL("<"), "lte": sql.SQL("<=")}
# A missing value is NULL, which a negation would leave NULL.
_NUMBER_RANGE = sql.SQL("coalesce((ranges ->> %s::text)::float8 {} %s::float8, false)")
_STRING_RANGE = sql.SQL("""coalesce((ranges ->> %s::text) COLLATE "C" {} %s::text, false)""")


@dataclass(frozen=True, slots=True)
class Condition:
    """A boolean expression over a collection's table, and its parameters in order."""

    sql: sql.Composable
    parameters: tuple[object, ...] = ()


_TRUE, _FALSE = Condition(sql.SQL("true")), Condition(sql.SQL("false"))


def terms_of(metadata: Metadata) -> list[str]:
    """Return the column `terms` of a document with this metadata."""
    terms = {_term(field, value) for field in metadata for value in values_of(metadata, field)}
    return sorted(terms)


def ranges_of(metadata: Metadata) -> str:
    """Return the column `ranges`, as JSON."""
    ranges: dict[str, str | float] = {}
    for field, value in metadata.items():
        if isinstance(value, str):
            # Longer than any bound, so that cutting a value off never moves it across one.
            ranges[_STRING + field] = value[: MAX_RANGE_BYTES + 1]
        elif isinstance(value, int | float) and not isinstance(value, bool):
            ranges[_NUMBER + field] = float(value)
    return json.dumps(ranges, ensure_ascii=False)


def to_condition(where: Filter | None) -> Condition:
    match where:
        case None:
            return _TRUE
        case And(parts):
            return _joined(sql.SQL(" AND "), parts, _TRUE)
        case Or(parts):
            return _joined(sql.SQL(" OR "), parts, _FALSE)
        case Not(part):
            return _negated(to_condition(part))
        case Compare():
            return _compare(where)
        case _:
            assert_never(where)


def _joined(word: sql.SQL, parts: Sequence[Filter], none: Condition) -> Condition:
    if not parts:
        return none
    conditions = [to_condition(part) for part in parts]
    joined = word.join(condition.sql for condition in conditions)
    parameters = tuple(value for condition in conditions for value in condition.parameters)
    return Condition(sql.SQL("({})").format(joined), parameters)


def _negated(condition: Condition) -> Condition:
    return Condition(sql.SQL("(NOT {})").format(condition.sql), condition.parameters)


def _compare(where: Compare) -> Condition:
    if where.op in _SIGNS:
        return _range(where)
    terms = [_term(where.field, value) for value in wanted_values(where)]
    found = Condition(sql.SQL("(terms && %s::text[])"), (terms,)) if terms else _FALSE
    return _negated(found) if is_negative(where) else found


def _range(where: Compare) -> Condition:
    bound, sign = where.value, _SIGNS[where.op]
    if isinstance(bound, str):
        return Condition(_STRING_RANGE.format(sign), (_STRING + where.field, bound))
    if isinstance(bound, bool | tuple):
        return _FALSE
    return Condition(_NUMBER_RANGE.format(sign), (_NUMBER + where.field, float(bound)))


def _term(field: str, value: Scalar) -> str:
    term = f"{len(field)}:{field}{canonical(value)}"
    encoded = term.encode()
    if len(encoded) <= _MAX_TERM_BYTES:
        return term
    return f"#{blake2b(encoded, digest_size=16).hexdigest()}"  # no other term begins so
