"""Metadata filters in Qdrant: a payload to filter by, and Qdrant filters over it.

Field names are free text and payload keys have a syntax, so names are stored as values:

    tokens   every field with every value that it equals, as keywords; `eq` and `in` match them
    numbers  [{field, value}], value float64; a range is a condition on a nested object
    strings  [{field, c0, c1, ...}], the text in runs of 6 bytes, each as a number that sorts like
             it; a range compares run by run, because Qdrant orders numbers but not strings

Every filter is applied by the server, before the nearest records are chosen.
"""

from typing import Any, assert_never

from qdrant_client import models

from deployments.stores.base import And, Compare, Filter, Metadata, Not, Or, Scalar
from deployments.stores.filters import (
    MAX_RANGE_BYTES,
    canonical,
    is_negative,
    values_of,
    wanted_values,
)

_RUN_BYTES = 6
# 256 byte values and 0 for the end of the text: six such digits are below 2^53, exact in float64.
_BASE = 257
# One run more than the longest bound, so that cutting a value off never moves it across a bound.
_STORED_BYTES = MAX_RANGE_BYTES + _RUN_BYTES


def filter_payload(metadata: Metadata) -> dict[str, Any]:
    """Return the part of a point's payload that filters use."""
    tokens = [_token(field, value) for field in metadata for value in values_of(metadata, field)]
    numbers: list[dict[str, str | float]] = []
    strings: list[dict[str, str | int]] = []
    for field, value in metadata.items():
        if isinstance(value, str):
            runs = _runs(value.encode()[:_STORED_BYTES])
            strings.append({"field": field, **{f"c{at}": run for at, run in enumerate(runs)}})
        elif isinstance(value, int | float) and not isinstance(value, bool):
            numbers.append({"field": field, "value": float(value)})
    return {"tokens": tokens, "numbers": numbers, "strings": strings}


def to_filter(where: Filter) -> models.Filter:
    match where:
        case And(parts):
            return models.Filter(must=[to_filter(part) for part in parts])
        case Or(parts):
            # An empty `should` would match everything.
            some: list[models.Condition] = [to_filter(part) for part in parts]
            return models.Filter(should=some) if some else _nothing()
        case Not(part):
            return models.Filter(must_not=[to_filter(part)])
        case Compare():
            return _compare(where)
        case _:
            assert_never(where)


def _compare(where: Compare) -> models.Filter:
    if where.op in ("gt", "gte", "lt", "lte"):
        return _range(where)
    tokens = [_token(where.field, value) for value in wanted_values(where)]
    found = models.FieldCondition(key="tokens", match=models.MatchAny(any=tokens))
    if not tokens:
        return models.Filter() if is_negative(where) else _nothing()
    return models.Filter(must_not=[found]) if is_negative(where) else models.Filter(must=[found])


def _range(where: Compare) -> models.Filter:
    bound = where.value
    named = _is("field", where.field)
    if isinstance(bound, str):
        inside = models.Filter(must=[named], should=_string_range(where.op, _runs(bound.encode())))
        return _nested("strings", inside)
    if isinstance(bound, bool | tuple):
        return _nothing()
    between = models.FieldCondition(key="value", range=models.Range(**{where.op: float(bound)}))
    return _nested("numbers", models.Filter(must=[named, between]))


def _string_range(op: str, runs: list[int]) -> list[models.Condition]:
    """Return a filter for each run that may be the first to differ, and one for equality."""
    beyond = op[:2]
    ways: list[models.Condition] = []
    for first, run in enumerate(runs):
        same: list[models.Condition] = [_is(f"c{at}", runs[at]) for at in range(first)]
        differs = models.FieldCondition(key=f"c{first}", range=models.Range(**{beyond: run}))
        ways.append(models.Filter(must=[*same, differs]))
    if op.endswith("e"):
        ways.append(models.Filter(must=[_is(f"c{at}", run) for at, run in enumerate(runs)]))
    return ways


def _runs(text: bytes) -> list[int]:
    """Return the text as numbers; the last is always padded, so that a prefix sorts first."""
    runs = []
    for start in range(0, len(text) + 1, _RUN_BYTES):
        number = 0
        for at in range(start, start + _RUN_BYTES):
            number = number * _BASE + (text[at] + 1 if at < len(text) else 0)
        runs.append(number)
    return runs


def _token(field: str, value: Scalar) -> str:
    return f"{len(field)}:{field}{canonical(value)}"


def _is(key: str, value: str | int) -> models.FieldCondition:
    return models.FieldCondition(key=key, match=models.MatchValue(value=value))


def _nested(key: str, inside: models.Filter) -> models.Filter:
    nested = models.NestedCondition(nested=models.Nested(key=key, filter=inside))
    return models.Filter(must=[nested])


def _nothing() -> models.Filter:
    return models.Filter(must=[models.HasIdCondition(has_id=[])])
