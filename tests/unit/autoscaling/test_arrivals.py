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
    demand = Arrivals(clock)
    clock.now += 1
    demand.search_begins("interactive", 20)
    assert demand.to_stats()["rerank_interactive_tokens_per_s"] == 0
    demand.search_reranked(20, 4000)
    demand.search_begins("interactive", 10)
    stats = demand.to_stats()
    assert stats["rerank_interactive_tokens_per_s"] == pytest.approx(2000)
    assert stats["rerank_bulk_tokens_per_s"] == stats["embed_interactive_tokens_per_s"] == 0


def test_lanes_and_stages_are_counted_separately() -> None:
    clock = Clock()
    demand = Arrivals(clock)
    clock.now += 1
    demand.add("embed", "bulk", 700)
    stats = demand.to_stats()
    assert stats.pop("embed_bulk_tokens_per_s") == pytest.approx(700)
    assert set(stats.values()) == {0}
