"""Counters and histograms that are summed here, and reach Ray when they are flushed."""

import pytest

from deployments.metrics.latencies import Latencies
from deployments.metrics.tally import Tally
from tests.unit.metrics.recorded import Recorded, recorded

__all__ = ["recorded"]


def test_what_was_added_reaches_ray_once_and_in_sum(recorded: Recorded) -> None:
    tally = Tally("taken", "", ("who", "why"))
    for _ in range(1_000):
        tally.add(("a", "x"))
    tally.add(("b", "x"), 2.5)
    assert recorded.calls == 0
    tally.flush()
    tally.flush()
    assert recorded.calls == 2
    assert recorded.of("taken", who="a", why="x") == 1_000
    assert recorded.of("taken", who="b", why="x") == 2.5


def test_a_series_begins_before_anything_is_counted_in_it(recorded: Recorded) -> None:
    tally = Tally("taken", "", ("who",))
    tally.begin(("a",))
    tally.flush()
    assert recorded.of("taken", who="a") == pytest.approx(0, abs=1e-6)


def test_a_histogram_has_prometheus_buckets_and_an_exact_sum(recorded: Recorded) -> None:
    latencies = Latencies("spent_seconds", "", ("stage",))
    for seconds in (0.0005, 0.001, 0.0011, 0.3, 99.0):
        latencies.observe(("embed",), seconds)
    latencies.flush()
    latencies.observe(("embed",), 0.3)
    latencies.flush()

    def bucket(le: str) -> float:
        value = recorded.of("spent_seconds_bucket", stage="embed", le=le)
        assert value is not None
        return round(value, 6)

    assert [bucket(le) for le in ("0.001", "0.002", "0.2", "0.5", "30", "+Inf")] == [
        2,
        3,
        3,
        5,
        5,
        6,
    ]
    assert recorded.of("spent_seconds_sum", stage="embed") == pytest.approx(99.6026)


def test_every_bucket_is_there_from_the_first_value_on(recorded: Recorded) -> None:
    """A quantile would be taken from 0 on if the buckets below it were missing."""
    latencies = Latencies("spent_seconds", "", ("stage",))
    latencies.observe(("embed",), 20.0)
    latencies.flush()
    assert recorded.series("spent_seconds_bucket") == 15
    least = recorded.of("spent_seconds_bucket", stage="embed", le="0.001")
    assert least == pytest.approx(0, abs=1e-6)


def test_a_flush_costs_as_much_for_a_thousand_values_as_for_one(recorded: Recorded) -> None:
    latencies = Latencies("spent_seconds", "", ("stage",))
    latencies.observe(("embed",), 0.1)
    latencies.flush()
    first = recorded.calls
    for _ in range(1_000):
        latencies.observe(("embed",), 0.1)
    latencies.flush()
    assert recorded.calls <= 2 * first
    latencies.flush()
    assert recorded.calls <= 2 * first, "nothing came since"
