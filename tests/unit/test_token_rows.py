"""Packed rows come apart as they went in."""

import pickle

from hypothesis import given
from hypothesis import strategies as st

from deployments.token_rows import TokenRows

_ROWS = st.lists(st.lists(st.integers(0, 151_000), min_size=1, max_size=8), min_size=1)


@given(_ROWS)
def test_round_trip_through_pickle(rows: list[list[int]]) -> None:
    packed: TokenRows = pickle.loads(pickle.dumps(TokenRows.pack(rows)))
    assert list(packed) == rows
    assert packed.total_tokens == sum(map(len, rows))


@given(_ROWS, st.data())
def test_split_then_concatenate_is_the_same(rows: list[list[int]], data: st.DataObject) -> None:
    packed = TokenRows.pack(rows, segments=list(range(len(rows))))
    bounds = sorted(data.draw(st.sets(st.integers(1, max(1, len(rows) - 1)), max_size=3)))
    bounds = [bound for bound in bounds if bound < len(rows)]
    parts = packed.split(bounds)
    assert [len(part) > 0 for part in parts] == [True] * (len(bounds) + 1)
    joined = TokenRows.concatenate(parts)
    assert list(joined) == rows
    assert joined.segments is not None
    assert joined.segments.tolist() == list(range(len(rows)))
