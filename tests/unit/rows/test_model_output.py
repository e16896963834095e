"""Outputs of rows of which some have failed."""

from dataclasses import replace

import numpy as np
import pytest

from deployments.rows.engine_counts import EngineCounts
from deployments.rows.model_output import ModelOutput


def vectors(*rows: float) -> ModelOutput:
    return ModelOutput.uncached(np.array([[value, 1.0] for value in rows], np.float32))


def test_failed_rows_get_the_width_of_the_others() -> None:
    joined = ModelOutput.concatenate([ModelOutput.failed(2), vectors(3), ModelOutput.failed(1)])
    assert joined.values.shape == (4, 2)
    assert joined.values.dtype == np.float32
    assert np.isnan(joined.values[[0, 1, 3]]).all()
    assert joined.values[2].tolist() == [3, 1]
    assert ModelOutput.concatenate([ModelOutput.failed(1)] * 2).values.shape == (2,)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_a_failed_row(value: float) -> None:
    assert vectors(1, value, value).first_failed() == 1
    assert vectors(1, 2).first_failed() is None
    scores = ModelOutput.uncached(np.array([0.5, 0.1, value], np.float32))
    assert scores.first_failed() == 2


def test_counts_of_halves_are_those_of_the_batch_and_no_part_has_any() -> None:
    halves = [
        replace(vectors(1), counts=EngineCounts(1, 10, 10, 0, 0, 3, 0, 0.5)),
        ModelOutput.failed(1),
        replace(vectors(2, 3), counts=EngineCounts(2, 20, 20, 8, 1, 1, 4, 0.2)),
    ]
    whole = ModelOutput.concatenate(halves)
    assert whole.counts == EngineCounts(3, 30, 30, 8, 1, 3, 4, 0.5)
    assert whole.part(0, 4).counts is None
    assert ModelOutput.concatenate([whole.part(0, 2), whole.part(2, 4)]).counts is None
