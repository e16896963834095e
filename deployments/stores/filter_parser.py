"""The parser of metadata filters: from the JSON that clients send to the tree that stores take.

The language is the one that vector databases share: `{"topic": "science", "year": {"$gte": 1990},
"$or": [{"lang": "en"}, {"lang": "de"}]}`. All entries of an object must hold.
"""

from typing import Any, get_args

from deployments.errors import InvalidRequest
from deployments.stores.base import And, Compare, Filter, Not, Or, Scalar
from deployments.stores.filters import MAX_DEPTH, MAX_VALUES, check_depth, check_filter

# A value has an object and a list around it at each level, at most.
_MAX_PARTS = 2 * MAX_VALUES * MAX_DEPTH

_OPERATORS = {
    "$eq": "eq",
    "$ne": "ne",
    "$gt": "gt",
    "$gte": "gte",
    "$lt": "lt",
    "$lte": "lte",
    "$in": "in",
    "$nin": "not_in",
}


def parse_filter(raw: dict[str, Any]) -> Filter:
    """Parse a filter. Raises InvalidRequest, naming the malformed part or the limit exceeded."""
    _check_parts(raw)
    where = _parse(raw, depth=1)
    check_filter(where)
    return where


def _check_parts(raw: dict[str, Any]) -> None:
    """Refuse at once what is sure to be too large: to parse megabytes takes seconds."""
    waiting: list[Any] = [raw]
    seen = 0
    while waiting:
        seen += 1
        if seen > _MAX_PARTS:
            raise InvalidRequest(f"a filter may name at most {MAX_VALUES} values", param="filter")
        part = waiting.pop()
        if isinstance(part, dict):
            waiting += part.values()
        elif isinstance(part, list):
            waiting += part


def _parse(raw: dict[str, Any], depth: int) -> Filter:
    check_depth(depth)
    parts = [_parse_entry(key, value, depth) for key, value in raw.items()]
    return parts[0] if len(parts) == 1 else And(tuple(parts))


def _parse_entry(key: str, value: Any, depth: int) -> Filter:
    if key in ("$and", "$or"):
        if not isinstance(value, list) or not value:
            raise InvalidRequest(f"'{key}' takes a list of at least one filter", param="filter")
        parts = tuple(_parse(_object(key, part), depth + 1) for part in value)
        return And(parts) if key == "$and" else Or(parts)
    if key == "$not":
        return Not(_parse(_object(key, value), depth + 1))
    if key.startswith("$"):
        raise InvalidRequest(f"'{key}' is not a filter operator here", param="filter")
    if not isinstance(value, dict):
        return Compare(key, "eq", _scalar(key, value))
    if not value:
        raise InvalidRequest(f"the filter on '{key}' has no operator", param="filter")
    parts = tuple(_compare(key, operator, operand) for operator, operand in value.items())
    return parts[0] if len(parts) == 1 else And(parts)


def _compare(field: str, operator: str, operand: Any) -> Filter:
    if operator not in _OPERATORS:
        raise InvalidRequest(
            f"'{operator}' is not a filter operator: use one of {', '.join(_OPERATORS)}",
            param="filter",
        )
    if operator not in ("$in", "$nin"):
        return Compare(field, _OPERATORS[operator], _scalar(field, operand))  # type: ignore[arg-type] # the table's values are the literals
    if not isinstance(operand, list):
        raise InvalidRequest(f"'{operator}' takes a list of values", param="filter")
    values = tuple(_scalar(field, value) for value in operand)
    return Compare(field, "in" if operator == "$in" else "not_in", values)


def _object(key: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict) or not value:
        raise InvalidRequest(
            f"'{key}' takes filters, which are objects of at least one field", param="filter"
        )
    return value


def _scalar(field: str, value: Any) -> Scalar:
    if not isinstance(value, get_args(Scalar)):
        raise InvalidRequest(
            f"the filter on '{field}' compares with a string, number or boolean", param="filter"
        )
    scalar: Scalar = value
    return scalar
