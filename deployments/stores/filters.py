"""The semantics of filters, as a reference that every adapter must match, and their limits.

Booleans, numbers and strings are three kinds: values of different kinds are never equal and never
compare. Numbers are equal by value (1 equals 1.0). Ranges compare numbers as float64 and strings
by code point. A list equals a value if any element does, and matches no range. None counts as
absent. Knows no engine: adapters translate filters, this module defines them.
"""

import math
from collections.abc import Iterator
from typing import assert_never

from deployments.errors import InvalidRequest
from deployments.stores.base import And, Compare, Filter, Metadata, Not, Or, Scalar

MAX_DEPTH = 16
MAX_VALUES = 1_000
MAX_FIELD_BYTES = 256
# Adapters order strings by this many bytes and a little more.
MAX_RANGE_BYTES = 256
# The sum over all bounds of a filter. An adapter may expand a range into one term a bit: LanceDB
# took 1.5 s to plan this many bytes, and 14 s for a thousand numbers.
MAX_RANGES_BYTES = 1_024
_NUMBER_BYTES = 8
# Such an integer never overflows a float64.
_MAX_INT_BITS = 1023

_RANGES = ("gt", "gte", "lt", "lte")


def kind(value: Scalar) -> str:
    """Return "b" for a boolean, "n" for a number, "s" for a string."""
    if isinstance(value, bool):
        return "b"
    return "s" if isinstance(value, str) else "n"


def canonical(value: Scalar) -> str:
    """Return the kind and value as text: two texts are equal exactly if their values are."""
    if isinstance(value, bool):
        return f"b{int(value)}"
    if isinstance(value, str):
        return f"s{value}"
    if isinstance(value, float) and not value.is_integer():
        return f"n{value!r}"
    return f"n{int(value)}"


def values_of(metadata: Metadata, field: str) -> list[Scalar]:
    """Return the values that the field equals: none, its own, or those of its list."""
    value = metadata.get(field)
    if value is None:
        return []
    return list(value) if isinstance(value, list) else [value]


def matches(where: Filter, metadata: Metadata) -> bool:
    """Return whether a document with this metadata passes the filter."""
    match where:
        case And(parts):
            return all(matches(part, metadata) for part in parts)
        case Or(parts):
            return any(matches(part, metadata) for part in parts)
        case Not(part):
            return not matches(part, metadata)
        case Compare():
            return _compare(where, metadata)
        case _:
            assert_never(where)


def _compare(where: Compare, metadata: Metadata) -> bool:
    if where.op in _RANGES:
        return _in_range(where, metadata.get(where.field))
    wanted = wanted_values(where)
    found = any(
        kind(have) == kind(want) and have == want
        for have in values_of(metadata, where.field)
        for want in wanted
    )
    return found != is_negative(where)


def _in_range(where: Compare, have: Scalar | list[str] | None) -> bool:
    bound = where.value
    if have is None or isinstance(have, list) or isinstance(bound, tuple):
        return False
    if isinstance(have, str) and isinstance(bound, str):
        return _ordered(where.op, (have > bound) - (have < bound))
    if kind(have) == "n" and not isinstance(have, str) and not isinstance(bound, str | bool):
        left, right = float(have), float(bound)
        return _ordered(where.op, (left > right) - (left < right))
    return False


def _ordered(op: str, order: int) -> bool:
    return {"gt": order > 0, "gte": order >= 0, "lt": order < 0, "lte": order <= 0}[op]


def wanted_values(where: Compare) -> tuple[Scalar, ...]:
    """Return the operand of `eq`, `ne`, `in` or `not_in` as a tuple."""
    return where.value if isinstance(where.value, tuple) else (where.value,)


def is_negative(where: Compare) -> bool:
    return where.op in ("ne", "not_in")


def check_filter(where: Filter | None) -> None:
    """Raise InvalidRequest for a filter that is malformed or too large for an engine."""
    if where is None:
        return
    values = ranges_bytes = 0
    for compare in _comparisons(where, depth=1):
        _check_compare(compare)
        values += max(1, len(wanted_values(compare)))
        ranges_bytes += _bound_bytes(compare)
    if values > MAX_VALUES:
        raise InvalidRequest(f"a filter may name at most {MAX_VALUES} values", param="filter")
    if ranges_bytes > MAX_RANGES_BYTES:
        raise InvalidRequest(
            f"the ranges of a filter may have bounds of at most {MAX_RANGES_BYTES} bytes in all,"
            f" {_NUMBER_BYTES} for a number: use fewer or shorter ones",
            param="filter",
        )


def check_depth(depth: int) -> None:
    """Raise InvalidRequest if a part of a filter at this depth, counted from 1, is too deep."""
    if depth > MAX_DEPTH:
        raise InvalidRequest(f"a filter may be nested at most {MAX_DEPTH} deep", param="filter")


def _comparisons(where: Filter, depth: int) -> Iterator[Compare]:
    check_depth(depth)
    match where:
        case And(parts) | Or(parts):
            for part in parts:
                yield from _comparisons(part, depth + 1)
        case Not(part):
            yield from _comparisons(part, depth + 1)
        case Compare():
            yield where
        case _:
            assert_never(where)


def _check_compare(where: Compare) -> None:
    many = where.op in ("in", "not_in")
    if isinstance(where.value, tuple) != many:
        shape = "a list of values" if many else "one value"
        raise InvalidRequest(f"the filter operator '{where.op}' takes {shape}", param="filter")
    for value in wanted_values(where):
        check_scalar(value, param="filter")
    check_text(where.field, param="filter")
    if len(where.field.encode()) > MAX_FIELD_BYTES:
        raise InvalidRequest(
            f"a field to filter by may have a name of at most {MAX_FIELD_BYTES} bytes",
            param="filter",
        )
    if where.op in _RANGES and isinstance(where.value, bool):
        raise InvalidRequest("booleans have no order to filter by", param="filter")
    if _bound_bytes(where) > MAX_RANGE_BYTES:
        raise InvalidRequest(
            f"a string bound may be at most {MAX_RANGE_BYTES} bytes long", param="filter"
        )


def _bound_bytes(where: Compare) -> int:
    """Return the size of a range's bound; 0 for other comparisons."""
    if where.op not in _RANGES:
        return 0
    return len(where.value.encode()) if isinstance(where.value, str) else _NUMBER_BYTES


def check_scalar(value: object, param: str) -> None:
    """Raise InvalidRequest unless JSON and every engine can hold the value."""
    if isinstance(value, str):
        check_text(value, param)
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise InvalidRequest("NaN and infinity are not values", param=param)
    elif not isinstance(value, int):
        raise InvalidRequest("a value must be a string, a number or a boolean", param=param)
    elif value.bit_length() > _MAX_INT_BITS:
        raise InvalidRequest("a number must lie within the range of float64", param=param)


def check_text(text: object, param: str) -> None:
    """Raise InvalidRequest unless `text` is a string with a UTF-8 form."""
    if not isinstance(text, str):
        raise InvalidRequest("a name must be a string", param=param)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidRequest("a string holds half of a surrogate pair", param=param) from None
