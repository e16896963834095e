"""Arrival rates of a Router: over a window, and of expected rerank work."""

import pytest

from deployments.autoscaling.arrivals import Arrivals, Rate


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_rate_is_over_the_window_or_the_time_since_its_creation() -> None:
    clock = Clock()
    rate = Rate(clock, window_s=10)
    for _ in range(5):
        rate.add(30)
        rate.add(20)
        clock.now += 1
    assert rate.per_s() == pytest.approx(50)
    clock.now += 5
    assert rate.per_s() == pytest.approx(25)
    clock.now += 20
    assert rate.per_s() == 0


def test_a_beginning_search_counts_by_the_tokens_learned_from_earlier_ones() -> None:
    clock = Clock()
    arrivals = Arrivals(clock)
    clock.now += 1
    with arrivals.expecting("interactive", 20):
        assert arrivals.to_stats()["rerank_interactive_tokens_per_s"] == 0
    arrivals.reranked(20, 4000)
    with arrivals.expecting("interactive", 10):
        stats = arrivals.to_stats()
        clock.now += 3
    assert stats["rerank_interactive_tokens_per_s"] == pytest.approx(2000)
    assert stats["rerank_bulk_tokens_per_s"] == stats["embed_interactive_tokens_per_s"] == 0
    assert arrivals.to_stats()["rerank_interactive_tokens_per_s"] == 0, "it has got there"


def test_an_expectation_that_is_out_of_the_window_takes_nothing_back() -> None:
    clock = Clock()
    arrivals = Arrivals(clock)
    arrivals.reranked(1, 100)
    with arrivals.expecting("interactive", 10):
        clock.now += 30
        assert arrivals.to_stats()["rerank_interactive_tokens_per_s"] == 0
        arrivals.add("rerank", "interactive", 1000)
    assert arrivals.to_stats()["rerank_interactive_tokens_per_s"] > 0


def test_lanes_and_stages_are_counted_separately() -> None:
    clock = Clock()
    arrivals = Arrivals(clock)
    clock.now += 1
    arrivals.add("embed", "bulk", 700)
    stats = arrivals.to_stats()
    assert stats.pop("embed_bulk_tokens_per_s") == pytest.approx(700)
    assert set(stats.values()) == {0}


def test_rounding_leaves_no_rate_below_zero() -> None:
    arrivals = Arrivals(Clock())
    rate = arrivals._rates["rerank", "interactive"]
    rate.add(0.1)
    second = rate.add(0.7)
    rate.take_back(0.7, second)
    rate.take_back(0.1, second)
    assert arrivals.to_stats()["rerank_interactive_tokens_per_s"] == 0
