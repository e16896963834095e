"""Filters: the reference, and every adapter compared with it."""

import uuid

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deployments.errors import InvalidRequest
from deployments.stores.base import (
    And,
    Compare,
    Filter,
    Metadata,
    Namespace,
    Not,
    Or,
    Scalar,
    VectorQuery,
    VectorStore,
)
from deployments.stores.filters import (
    MAX_DEPTH,
    MAX_FIELD_BYTES,
    MAX_RANGES_BYTES,
    MAX_VALUES,
    check_filter,
    matches,
)
from tests.unit.stores.made import DIMENSIONS, FINGERPRINT, record, unit

FIELDS = ["a", "a.b", "a'", "\x1e", "", "z"]
TEXTS = ["", "1", "true", "a", "ab", "a\x1e", "it's", "\x1f", "é", "日本語", "long " * 60, "ÿ" * 6]
NUMBERS = [0, -0.0, 1, 1.0, -1, 0.1, 2**53, 2**53 + 1, float(2**53), -1e300, 1e-300, 2**70, 17.5]
scalars = st.one_of(st.sampled_from(TEXTS), st.sampled_from(NUMBERS), st.booleans())
bounds = st.one_of(
    st.sampled_from([text for text in TEXTS if len(text) < 200]),
    st.sampled_from(NUMBERS),
    st.text(st.sampled_from("ab\x1eé"), max_size=8),
)
# More fields than an adapter has lanes for ranges, so that some overflow.
fields = st.sampled_from([*FIELDS, *(f"f{at}" for at in range(10))])
documents = st.lists(
    st.dictionaries(
        fields,
        st.one_of(scalars, st.none(), st.lists(st.sampled_from(TEXTS), max_size=3)),
        max_size=16,
    ),
    min_size=1,
    max_size=8,
)
compares = st.one_of(
    st.builds(Compare, fields, st.sampled_from(["eq", "ne"]), scalars),
    st.builds(Compare, fields, st.sampled_from(["gt", "gte", "lt", "lte"]), bounds),
    st.builds(
        Compare,
        fields,
        st.sampled_from(["in", "not_in"]),
        st.lists(scalars, max_size=3).map(tuple),
    ),
)
filters: st.SearchStrategy[Filter] = st.recursive(
    compares,
    lambda part: st.one_of(
        st.builds(And, st.lists(part, max_size=3).map(tuple)),
        st.builds(Or, st.lists(part, max_size=3).map(tuple)),
        st.builds(Not, part),
    ),
    max_leaves=5,
)


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(metadatas=documents, wheres=st.lists(filters, min_size=4, max_size=8))
async def test_an_adapter_filters_as_the_reference_does(
    store: VectorStore, metadatas: list[Metadata], wheres: list[Filter]
) -> None:
    ns = Namespace("t", uuid.uuid4().hex)
    await store.ensure(ns, DIMENSIONS, FINGERPRINT)
    await store.upsert(ns, [record(f"d{at}", metadata=m) for at, m in enumerate(metadatas)])
    answers = await store.search([VectorQuery(ns, unit(1, 0, 0, 0), 20, where) for where in wheres])
    for where, hits in zip(wheres, answers, strict=True):
        expected = {f"d{at}" for at, m in enumerate(metadatas) if matches(where, m)}
        assert {hit.record.id for hit in hits} == expected
    wanted = sum(matches(wheres[0], m) for m in metadatas)
    assert await store.delete(ns, where=wheres[0]) == wanted
    await store.drop(ns)


async def test_a_filter_is_applied_before_the_nearest_are_chosen(
    store: VectorStore, ns: Namespace
) -> None:
    await store.ensure(ns, DIMENSIONS, FINGERPRINT)
    await store.upsert(
        ns,
        [record(f"d{at}", turn=at, metadata={"day": f"2026-01-{at:02}"}) for at in range(50)],
    )
    where = And((Compare("day", "gt", "2026-01-45"), Compare("day", "lte", "2026-01-48")))
    [hits] = await store.search([VectorQuery(ns, unit(1, 0, 0, 0), 2, where)])
    assert [hit.record.id for hit in hits] == ["d46", "d47"]


@pytest.mark.parametrize(
    ("where", "passes"),
    [
        (Compare("x", "eq", 1.0), [1, 1.0]),
        (Compare("x", "eq", True), [True]),
        (Compare("x", "eq", "1"), ["1", ["2", "1"]]),
        (Compare("x", "in", (1, "2")), [1, 1.0, ["2", "1"]]),
        (Compare("x", "ne", 1), [True, "1", ["2", "1"], None, 0.5]),
        (Compare("x", "not_in", (1, True)), ["1", ["2", "1"], None, 0.5]),
        (Compare("x", "gte", 1), [1, 1.0]),
        (Compare("x", "lt", 1), [0.5]),
        (Compare("x", "gte", "0"), ["1"]),
        (Compare("y", "lt", 1), []),
        (And(()), [1, 1.0, True, "1", ["2", "1"], None, 0.5]),
        (Or(()), []),
        (Not(Compare("x", "gt", 0.5)), [True, "1", ["2", "1"], None, 0.5]),
    ],
)
def test_the_reference(where: Filter, passes: list[Scalar | list[str] | None]) -> None:
    values: list[Scalar | list[str] | None] = [1, 1.0, True, "1", ["2", "1"], None, 0.5]
    found = [value for value in values if matches(where, {"x": value})]
    assert list(map(repr, found)) == list(map(repr, passes))


def nested(depth: int) -> Filter:
    where: Filter = Compare("x", "eq", 1)
    for _ in range(depth - 1):
        where = Not(where)
    return where


@pytest.mark.parametrize(
    "where",
    [
        Compare("x", "in", 1),
        Compare("x", "eq", (1,)),
        Compare("x", "gt", True),
        Compare("x", "eq", float("nan")),
        Compare("x", "eq", 2**1023),
        Compare("x", "lt", "x" * 257),
        Compare("x", "eq", "\ud800"),
        Compare("x", "in", tuple(range(MAX_VALUES + 1))),
        Or((Compare("x", "in", ()),) * (MAX_VALUES + 1)),
        Compare("x" * (MAX_FIELD_BYTES + 1), "eq", 1),
        Or((Compare("x", "gt", "x" * 64),) * 17),
        Or((Compare("x", "gt", 1),) * (MAX_RANGES_BYTES // 8 + 1)),
        nested(MAX_DEPTH + 1),
    ],
)
def test_a_malformed_filter_is_refused(where: Filter) -> None:
    with pytest.raises(InvalidRequest):
        check_filter(where)


def test_filters_at_the_limits_are_accepted() -> None:
    check_filter(None)
    check_filter(nested(MAX_DEPTH))
    check_filter(Compare("x", "in", tuple(range(MAX_VALUES))))
    check_filter(Or((Compare("x", "gt", "x" * 64),) * 16))


async def test_filters_at_the_limits_work(store: VectorStore, ns: Namespace) -> None:
    await store.ensure(ns, DIMENSIONS, FINGERPRINT)
    wide: Metadata = {f"f{at:02}": "b" * 300 for at in range(12)}
    await store.upsert(ns, [record("d", metadata={**wide, "x": 999})])
    for where in (
        Compare("x", "in", tuple(range(MAX_VALUES))),
        nested(MAX_DEPTH),
        Compare("f11", "gt", "b" * 256),
        Compare("f11", "gte", "b" * 256),
        Compare("f00", "lt", "b" * 255 + "c"),
    ):
        [hits] = await store.search([VectorQuery(ns, unit(1, 0, 0, 0), 1, where)])
        assert len(hits) == matches(where, {**wide, "x": 999}) == 1
