"""A batch with rows that cannot be computed: they fail alone, and at what cost."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.batching.halves import compute_by_halves
from deployments.engine.base import RowsFailed
from deployments.errors import EngineFailed
from deployments.rows.model_output import ModelOutput
from deployments.rows.token_rows import TokenRows
from loadtest.simulate import virtual_time

_WIDTH = 3


class Engine:
    """A row's vector is its first id; it takes no batch with an id of `bad`."""

    def __init__(self, bad: set[int]) -> None:
        self.calls = 0
        self._bad = bad

    async def embed(self, rows: TokenRows) -> ModelOutput:
        self.calls += 1
        if self._bad & set(rows.ids.tolist()):
            raise RowsFailed("one of them")
        return ModelOutput.uncached(np.tile(rows.ids[:, None].astype(np.float32), _WIDTH))


@given(st.integers(1, 200), st.data())
def test_each_good_row_has_its_own_answer(count: int, data: st.DataObject) -> None:
    bad = data.draw(st.sets(st.integers(0, count - 1), max_size=5))
    engine = Engine(bad)
    rows = TokenRows.pack([[number] for number in range(count)]).owned_by("me")
    output = virtual_time.run(compute_by_halves(engine.embed, rows))
    assert len(output) == len(output.cached_tokens) == count
    for number, values in enumerate(output.values):
        assert (np.isnan(values) if number in bad else values == number).all()
    assert output.first_failed() == min(bad, default=None)
    assert engine.calls <= 1 + len(bad) * 2 * np.ceil(np.log2(count))


async def test_an_engine_that_fails_is_not_asked_again() -> None:
    calls = 0

    async def fails(_: TokenRows) -> ModelOutput:
        nonlocal calls
        calls += 1
        raise EngineFailed("gone")

    with pytest.raises(EngineFailed):
        await compute_by_halves(fails, TokenRows.pack([[1]] * 8))
    assert calls == 1
