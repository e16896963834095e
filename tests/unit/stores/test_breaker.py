"""The breaker before a store: when a call is let through, on a clock of its own."""

import pytest

from deployments.errors import DeadlineExceeded, NotFound, Overloaded, StoreUnavailable
from deployments.stores.breaker import StoreBreaker


class Bench:
    def __init__(self) -> None:
        self.now_s = 0.0
        self.calls = 0
        self.breaker = StoreBreaker(lambda: self.now_s)

    def call(self, failure: Exception | None = None) -> None:
        with self.breaker.guard():
            self.calls += 1
            if failure:
                raise failure

    def fail(self, times: int = 1) -> None:
        for _ in range(times):
            with pytest.raises(StoreUnavailable):
                self.call(StoreUnavailable("away"))


def test_a_store_that_is_away_is_asked_once_in_two_seconds() -> None:
    bench = Bench()
    bench.fail(100)
    assert bench.calls == 3
    bench.now_s = 1.5
    with pytest.raises(StoreUnavailable) as refusal:
        bench.breaker.check()
    assert refusal.value.retry_after_s == 0.5
    for _ in range(40):
        bench.now_s += 0.5
        bench.fail(10)
    assert bench.calls == 3 + 10


def test_all_are_let_through_once_one_was_answered() -> None:
    bench = Bench()
    bench.fail(10)
    bench.now_s = 2
    bench.breaker.check()
    bench.call()
    for _ in range(20):
        bench.call()
    bench.fail(10)
    assert bench.calls == 3 + 1 + 20 + 3


def test_a_probe_that_tells_nothing_is_followed_by_another() -> None:
    bench = Bench()
    bench.fail(3)
    bench.now_s = 2
    with pytest.raises(DeadlineExceeded):
        bench.call(DeadlineExceeded("late"))
    bench.fail(1)
    assert bench.calls == 4, "not yet"
    bench.now_s = 4
    bench.call()


def test_failures_between_answers_open_nothing() -> None:
    bench = Bench()
    for _ in range(20):
        bench.fail(2)
        bench.call()
    for _ in range(20):
        bench.fail(2)
        with pytest.raises(NotFound):
            bench.call(NotFound("no such collection"))
    assert bench.calls == 120


def test_a_busy_store_is_not_away() -> None:
    bench = Bench()
    for _ in range(20):
        with pytest.raises(Overloaded):
            bench.call(Overloaded("busy"))
    bench.call()
    assert bench.calls == 21
