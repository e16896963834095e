"""Packed rows: packing, slicing and joining lose nothing."""

import pickle

from hypothesis import given
from hypothesis import strategies as st

from deployments.rows.token_rows import TokenRows

_ROWS = st.lists(st.lists(st.integers(0, 151_000), min_size=1, max_size=8), min_size=1)


@given(_ROWS)
def test_round_trip_through_pickle(rows: list[list[int]]) -> None:
    packed: TokenRows = pickle.loads(pickle.dumps(TokenRows.pack(rows)))
    assert list(packed) == rows
    assert packed.total_tokens == sum(map(len, rows))


@given(_ROWS, st.data())
def test_parts_concatenated_are_the_same(rows: list[list[int]], data: st.DataObject) -> None:
    packed = TokenRows.pack(rows, segments=list(range(len(rows))))
    middle = data.draw(st.integers(0, len(rows)))
    tokens = sum(map(len, rows[:middle]))
    parts = [packed.part(0, middle, 0), packed.part(middle, len(rows), tokens)]
    assert list(parts[0]) == rows[:middle]
    joined = TokenRows.concatenate(parts)
    assert list(joined) == rows
    assert joined.segments is not None
    assert joined.segments.tolist() == list(range(len(rows)))
