"""Outputs of rows of which some have failed."""

import numpy as np
import pytest

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
