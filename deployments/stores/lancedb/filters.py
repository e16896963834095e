"""Metadata filters in LanceDB: columns to filter by, and expressions over them.

`lancedb.expr` has comparisons, `isin` and `contains`, but no lists and no JSON. So metadata is
stored a second time in text columns, which are never null:

    tokens    every field with every value that it equals; `eq` and `in` search for this text
    lane0..7  one scalar field each, in order of name, as text that sorts like the value; a range
              is two comparisons a lane
    overflow  all further scalar fields, with their sort keys as bits; a range searches for each
              bit prefix inside it. Slower, but exact

Every filter is applied inside the engine, before the nearest records are chosen, and no part of it
is parsed as SQL. An unindexed search of 100,000 rows took 0.37 s; with a date range 0.5 s by lanes
and 1 s by overflow (384 dimensions, 2 busy cores).
"""

import struct
from collections.abc import Sequence
from typing import assert_never

from lancedb.expr import Expr, col, func, lit

from deployments.stores.base import And, Compare, Filter, Metadata, Not, Or, Scalar
from deployments.stores.filters import (
    MAX_RANGE_BYTES,
    canonical,
    is_negative,
    kind,
    values_of,
    wanted_values,
)

LANES = 8
COLUMNS = ("tokens", *(f"lane{lane}" for lane in range(LANES)), "overflow")

_RECORD = "\x1e"
_FIELD_END = "\x1f"
_SIGN = 1 << 63
# One more than the longest bound, so that cutting a value off never moves it across a bound.
_SORT_BYTES = MAX_RANGE_BYTES + 1


def filter_columns(metadata: Metadata) -> dict[str, str]:
    """Return a document's value for each of COLUMNS."""
    tokens = [_token(field, value) for field in metadata for value in values_of(metadata, field)]
    ordered = [
        (field, value)
        for field, value in sorted(metadata.items())
        if value is not None and not isinstance(value, bool | list)
    ]
    lanes = [_escape(field) + _FIELD_END + _sort_text(value) for field, value in ordered[:LANES]]
    lanes += [""] * (LANES - len(lanes))
    overflow = [_escape(field) + _FIELD_END + _sort_bits(value) for field, value in ordered[LANES:]]
    return {
        "tokens": _joined(tokens),
        **{f"lane{lane}": text for lane, text in enumerate(lanes)},
        "overflow": _joined(overflow),
    }


def to_expression(where: Filter) -> Expr:
    """Translate a filter to an expression over COLUMNS."""
    match where:
        case And(parts):
            return _all([to_expression(part) for part in parts])
        case Or(parts):
            return _any([to_expression(part) for part in parts])
        case Not(part):
            return ~to_expression(part)
        case Compare():
            return _compare(where)
        case _:
            assert_never(where)


def one_of(ids: Sequence[str]) -> Expr:
    return col("id").isin([lit(id_) for id_ in ids]) if ids else lit(False)


def _compare(where: Compare) -> Expr:
    if where.op in ("gt", "gte", "lt", "lte"):
        if isinstance(where.value, bool | tuple):
            return lit(False)
        return _any([*_lane_ranges(where, where.value), *_overflow_ranges(where, where.value)])
    found = _any(
        [
            _contains("tokens", _RECORD + _token(where.field, value) + _RECORD)
            for value in wanted_values(where)
        ]
    )
    return ~found if is_negative(where) else found


def _lane_ranges(where: Compare, bound: str | int | float) -> list[Expr]:
    field = _escape(where.field) + _FIELD_END
    edge = lit(field + _sort_text(bound))
    first, last = lit(field + kind(bound)), lit(field + chr(ord(kind(bound)) + 1))
    ranges = []
    for lane in (col(f"lane{lane}") for lane in range(LANES)):
        match where.op:
            case "gt":
                ranges.append((lane > edge) & (lane < last))
            case "gte":
                ranges.append((lane >= edge) & (lane < last))
            case "lt":
                ranges.append((lane < edge) & (lane >= first))
            case _:
                ranges.append((lane <= edge) & (lane >= first))
    return ranges


def _overflow_ranges(where: Compare, bound: str | int | float) -> list[Expr]:
    """Return a search for each bit prefix inside the range.

    After a common prefix, a key above the bound has a 1 for its 0 or goes on where it ends. A key
    below has a 0 for its 1 or ends inside it. Keys are whole bytes long.
    """
    prefix = _RECORD + _escape(where.field) + _FIELD_END
    key = _sort_bits(bound)
    bits = range(1, len(key))
    if where.op in ("gt", "gte"):
        texts = [key[:bit] + "1" for bit in bits if key[bit] == "0"] + [key + "0", key + "1"]
    else:
        texts = [key[:bit] + "0" for bit in bits if key[bit] == "1"]
        texts += [key[:end] + _RECORD for end in range(1, len(key), 8)]
    if where.op in ("gte", "lte"):
        texts.append(key + _RECORD)
    return [_contains("overflow", prefix + text) for text in texts]


def _contains(column: str, text: str) -> Expr:
    return func("contains", col(column), lit(text))


def _any(parts: list[Expr]) -> Expr:
    """Combine by OR, as a balanced tree: the engine recurses, and a chain of 1,000 is too deep."""
    if not parts:
        return lit(False)
    if len(parts) == 1:
        return parts[0]
    middle = len(parts) // 2
    return _any(parts[:middle]) | _any(parts[middle:])


def _all(parts: list[Expr]) -> Expr:
    return ~_any([~part for part in parts])


def _token(field: str, value: Scalar) -> str:
    return _escape(field) + _FIELD_END + _escape(canonical(value))


def _joined(texts: list[str]) -> str:
    return _RECORD.join(["", *texts, ""]) if texts else ""


def _escape(text: str) -> str:
    """Replace the two separators by escape sequences."""
    return text.replace("\x1b", "\x1b0").replace(_RECORD, "\x1b1").replace(_FIELD_END, "\x1b2")


def _sort_text(value: str | int | float) -> str:
    if isinstance(value, str):
        return "s" + value[:_SORT_BYTES]
    return "n" + _sort_key(value).hex()


def _sort_bits(value: str | int | float) -> str:
    key = value.encode()[:_SORT_BYTES] if isinstance(value, str) else _sort_key(value)
    return kind(value) + "".join(f"{byte:08b}" for byte in key)


def _sort_key(value: float) -> bytes:
    """Return the 8 bytes of the float64, with bits flipped so that they sort like the numbers."""
    number = float(value) + 0.0  # -0.0 becomes 0.0, which is equal but has other bits
    (bits,) = struct.unpack(">Q", struct.pack(">d", number))
    flipped = bits ^ (0xFFFFFFFFFFFFFFFF if bits & _SIGN else _SIGN)
    return bytes(struct.pack(">Q", flipped))
