"""Golden answers keep a drifted model out of service."""

import numpy as np
import pytest

from deployments.engine.golden import Golden, GoldenDrift, check_golden
from deployments.reranker import relevance

_GOLDEN = Golden(query="q", document="d", at_least=0.9, at_most=1)


def test_answers_inside_their_bounds_pass() -> None:
    check_golden([_GOLDEN, _GOLDEN], [0.9, 1.0])


@pytest.mark.parametrize("answer", [0.5, 1.01, float("nan")])
def test_an_answer_outside_its_bounds_is_a_drift(answer: float) -> None:
    with pytest.raises(GoldenDrift, match="outside"):
        check_golden([_GOLDEN], [answer])


def test_relevance_is_the_softmax_over_no_and_yes() -> None:
    no_yes = np.array([[2.0, -1.0], [0.0, 0.0], [-30.0, 50.0]])
    softmax = np.exp(no_yes) / np.exp(no_yes).sum(axis=1, keepdims=True)
    logits = (no_yes[:, 1] - no_yes[:, 0]).astype(np.float32)
    assert np.allclose(relevance(logits), softmax[:, 1], atol=1e-6)


def test_relevance_of_extreme_logits_stays_in_bounds() -> None:
    scores = relevance(np.array([-1e9, -100, 100, 1e9], np.float32))
    assert np.all(np.isfinite(scores))
    assert np.all((scores >= 0) & (scores <= 1))
