"""Refusals that are remembered: for which tenant, for how long, and when others may retry."""

import pytest

from deployments.calls.load_shedding import LoadShedding
from deployments.errors import Overloaded
from deployments.request.deadline import Deadline
from deployments.request.origin import Origin

_ME = Origin("me")
_LATE_S, _TOKEN_S = 0.5, 0.01


class Stand:
    """At first a call of 100 tokens with two seconds was refused: it needed half a second more."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.refusals = LoadShedding()
        self.refuse()

    def refuse(self, origin: Origin = _ME, late_s: float = _LATE_S) -> Overloaded:
        refusal = Overloaded("busy", retry_after_s=late_s, unit_s=_TOKEN_S)
        return self.refusals.note(refusal, 100, self.deadline(2), origin)

    def deadline(self, timeout_s: float) -> Deadline:
        return Deadline.after(timeout_s, lambda: self.now_s)

    def passes(self, timeout_s: float, origin: Origin = _ME) -> bool:
        try:
            self.refusals.check(100, self.deadline(timeout_s), origin)
        except Overloaded:
            return False
        return True


def test_what_has_no_more_time_is_refused_and_what_has_more_is_not() -> None:
    stand = Stand()
    assert not any(stand.passes(timeout_s) for timeout_s in (1, 2, 2.5))
    assert stand.passes(2.6)
    assert stand.passes(30)


def test_time_goes_by_and_room_comes() -> None:
    stand = Stand()
    stand.refuse(late_s=0.2)
    stand.now_s = 0.15
    assert not stand.passes(2)
    stand.now_s = 0.25
    assert stand.passes(2)


def test_it_is_soon_forgotten() -> None:
    stand = Stand()
    stand.refuse(late_s=100)
    stand.now_s = 0.45
    assert not stand.passes(2)
    stand.now_s = 0.55
    assert stand.passes(2), "a quarter of the time it had"


def test_what_is_given_up_leaves_its_room() -> None:
    stand = Stand()
    stand.refusals.give_up(100, Origin("other"))
    stand.refusals.give_up(100, _ME)
    assert [stand.passes(timeout_s) for timeout_s in (1.4, 1.5)] == [False, True]


def test_what_costs_less_than_what_was_refused_needs_less_time() -> None:
    stand = Stand()
    stand.refusals.check(10, stand.deadline(1.6), _ME)
    with pytest.raises(Overloaded):
        stand.refusals.check(10, stand.deadline(1.5), _ME)
    with pytest.raises(Overloaded):
        stand.refusals.check(400, stand.deadline(5), _ME)


def test_what_is_let_in_takes_the_room() -> None:
    stand = Stand()
    assert stand.passes(2.6)
    assert [stand.passes(timeout_s) for timeout_s in (2.6, 3.4, 3.7)] == [False, False, True]


@pytest.mark.parametrize("other", [Origin("other"), Origin("me", "bulk")])
def test_no_other_tenant_or_lane_is_refused_for_it(other: Origin) -> None:
    assert Stand().passes(2, other)


def test_each_who_is_refused_is_told_to_come_after_those_before() -> None:
    stand = Stand()
    told = []
    for _ in range(3):
        with pytest.raises(Overloaded) as refused:
            stand.refusals.check(200, stand.deadline(2), _ME)
        told.append(refused.value.retry_after_s)
    # The first call's tokens take a second, these two each.
    assert told == [pytest.approx(late_s) for late_s in (1.5, 3.5, 5.5)]
    assert stand.refuse().retry_after_s == pytest.approx(7.5)
    assert "7.5 s" in str(stand.refuse(Origin("late"), 7.5))


def test_nobody_is_told_to_wait_for_ever() -> None:
    stand = Stand()
    for _ in range(100):
        last = stand.refuse()
    assert 30 <= (last.retry_after_s or 0) < 32


def test_what_says_nothing_of_time_is_passed_on_and_not_remembered() -> None:
    stand = Stand()
    full = Overloaded("full")
    assert stand.refusals.note(full, 100, stand.deadline(2), Origin("x")) is full
    assert stand.passes(2, Origin("x"))


def test_tenants_without_end_are_forgotten() -> None:
    stand = Stand()
    for number in range(5_000):
        stand.refuse(Origin(f"tenant-{number}"))
        stand.now_s += 0.1
    assert len(stand.refusals._refused) <= 1_000


def test_who_is_refused_after_others_were_let_in_is_told_to_come_after_them() -> None:
    stand = Stand()
    assert [stand.passes(timeout_s) for timeout_s in (2.6, 3.7)] == [True, True]
    with pytest.raises(Overloaded) as refused:
        stand.refusals.check(100, stand.deadline(4), _ME)
    assert refused.value.retry_after_s == pytest.approx(0.7)
