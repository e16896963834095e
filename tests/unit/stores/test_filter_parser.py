"""The filter parser: the tree it returns, and the message of a refusal."""

from typing import Any

import pytest

from deployments.errors import InvalidRequest
from deployments.stores import filter_parser
from deployments.stores.base import And, Compare, Filter, Not, Or
from deployments.stores.filter_parser import parse_filter


@pytest.mark.parametrize(
    ("raw", "parsed"),
    [
        ({"topic": "science"}, Compare("topic", "eq", "science")),
        ({"year": {"$gte": 1990}}, Compare("year", "gte", 1990)),
        (
            {"year": {"$gte": 1990, "$lt": 2000}},
            And((Compare("year", "gte", 1990), Compare("year", "lt", 2000))),
        ),
        ({"lang": {"$in": ["en", "de"]}}, Compare("lang", "in", ("en", "de"))),
        ({"lang": {"$nin": []}}, Compare("lang", "not_in", ())),
        (
            {"$or": [{"a": 1}, {"b": True}], "$not": {"c": "x"}},
            And(
                (
                    Or((Compare("a", "eq", 1), Compare("b", "eq", True))),
                    Not(Compare("c", "eq", "x")),
                )
            ),
        ),
    ],
)
def test_parses(raw: dict[str, Any], parsed: Filter) -> None:
    assert parse_filter(raw) == parsed


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ({"a": {"$like": "x"}}, "'\\$like' is not a filter operator"),
        ({"$xor": []}, "'\\$xor' is not a filter operator"),
        ({"$or": []}, "at least one filter"),
        ({"$and": {"a": 1}}, "takes a list"),
        ({"$or": [1]}, "takes filters"),
        ({"$or": [{}]}, "at least one field"),
        ({"a": {"$in": list(range(1_001))}}, "at most 1000 values"),
        ({"$or": [{"a": 1}] * 100_000}, "at most 1000 values"),
        ({"a": {"$gt": True}}, "no order"),
        ({"a": None}, "compares with a string"),
        ({"a": {"$in": "x"}}, "takes a list"),
        ({"a": {}}, "no operator"),
        ({"a": [1]}, "compares with a string"),
    ],
)
def test_refusals_name_the_reason(raw: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidRequest, match=said):
        parse_filter(raw)


def test_refuses_ranges_too_large_for_an_engine() -> None:
    raw = {"$or": [{"day": {"$gte": "x" * 256}}] * 5}
    with pytest.raises(InvalidRequest, match="1024 bytes in all"):
        parse_filter(raw)


def test_refuses_a_filter_that_nests_too_deep() -> None:
    raw: dict[str, Any] = {"a": 1}
    for _ in range(50):
        raw = {"$not": raw}
    with pytest.raises(InvalidRequest, match="at most 16 deep"):
        parse_filter(raw)


def test_what_is_far_too_large_is_refused_before_it_is_parsed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(filter_parser, "_parse", None)
    with pytest.raises(InvalidRequest, match="at most 1000 values"):
        parse_filter({"$or": [{"a": 1}] * 100_000})


def test_a_filter_of_the_largest_size_is_taken() -> None:
    raw: dict[str, Any] = {"$or": [{"a": {"$eq": value}} for value in range(1_000)]}
    for _ in range(13):
        raw = {"$and": [raw]}
    parse_filter(raw)
