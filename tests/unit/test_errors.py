"""Errors survive pickling, and the docstring shows their statuses and codes."""

import pickle

import pytest

from deployments import errors
from deployments.errors import WinnowError

_CLASSES = [
    found
    for found in vars(errors).values()
    if isinstance(found, type) and issubclass(found, WinnowError)
]


@pytest.mark.parametrize("kind", _CLASSES)
def test_error_survives_pickling(kind: type[WinnowError]) -> None:
    error = pickle.loads(pickle.dumps(kind("change this", param="query")))
    assert type(error) is kind
    assert (error.message, error.param, str(error)) == ("change this", "query", "change this")


def test_what_a_refusal_says_of_time_survives_as_well() -> None:
    error = pickle.loads(pickle.dumps(errors.Overloaded("busy", retry_after_s=2.0, unit_s=0.1)))
    assert (error.retry_after_s, error.unit_s) == (2.0, 0.1)


@pytest.mark.parametrize("kind", _CLASSES)
def test_status_and_code_are_drawn_in_the_docstring(kind: type[WinnowError]) -> None:
    assert kind.code
    if WinnowError in kind.__bases__ and kind is not errors.InternalError:
        line = next(row for row in (errors.__doc__ or "").splitlines() if kind.__name__ in row)
        assert str(kind.status) in line
