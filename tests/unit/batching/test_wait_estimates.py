"""Estimates are corrected by how those before came out, and what was learnt fades."""

import pytest

from deployments.batching.wait_estimates import Foresight
from deployments.request.origin import Origin

_ME = Origin("me")


def after(*learnt: tuple[float, float]) -> float:
    foresight = Foresight()
    for estimate_s, took_s in learnt:
        foresight.learn(_ME, estimate_s, took_s)
    return foresight.factor(_ME)


def test_it_is_learnt_from_the_first_and_for_that_origin_alone() -> None:
    assert after((1, 1.5)) == pytest.approx(1.5)
    foresight = Foresight()
    foresight.learn(_ME, 1, 1.5)
    assert [foresight.factor(one) for one in (Origin("other"), Origin("me", "bulk"))] == [1, 1]


def test_it_grows_at_once_and_falls_slowly_but_never_under_one() -> None:
    assert after((1, 1), (1, 2)) == pytest.approx(1.5)
    assert after((1, 2), (1, 1)) == pytest.approx(1.95)
    assert after((2, 1)) == 1


def test_short_waits_tell_only_that_there_is_no_queue() -> None:
    assert after((0.4, 5)) == 1
    assert 1 < after((1, 3), *[(0.4, 5)] * 40) < 2


def test_a_stage_that_was_stuck_is_not_written_off() -> None:
    assert after((0.5, 60)) == 4


def test_origins_without_end_are_forgotten() -> None:
    foresight = Foresight()
    for number in range(3_000):
        foresight.learn(Origin(f"tenant-{number}"), 1, 2)
    assert len(foresight._factors) <= 1_000
    assert foresight.factor(Origin("tenant-2999")) == 2
