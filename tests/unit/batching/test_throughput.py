"""Throughput is cost over busy time, however many batches end together."""

import pytest

from deployments.batching.throughput import Throughput


def _beside_one_another(first_cost: float, second_cost: float) -> float:
    """Measured of a batch from 0 to 100 ms and one beside it from 20 to 100.5 ms; the larger is
    saturated."""
    now = [0.0]
    throughput = Throughput(lambda: now[0])
    first = throughput.begin()
    now[0] = 0.02
    second = throughput.begin()
    now[0] = 0.1
    is_first_full = first_cost > second_cost
    throughput.end(first_cost, first, saturated=is_first_full, more_waits=is_first_full)
    now[0] = 0.1005
    throughput.end(second_cost, second, saturated=not is_first_full, more_waits=False)
    return throughput.per_s


def test_slots_that_end_together_do_not_multiply_it() -> None:
    assert _beside_one_another(16_000, 300) == pytest.approx(16_300 / 0.1005, rel=0.1)


def test_a_saturated_batch_that_ends_just_after_another_is_measured_with_it() -> None:
    assert _beside_one_another(300, 16_000) == pytest.approx(16_300 / 0.0805)


def test_a_saturated_batch_is_measured_from_its_own_begin() -> None:
    """Batches of 500 for 600 ms, one begun before another ends, then full ones of 100 ms."""
    now = [0.0]
    throughput = Throughput(lambda: now[0])
    running = throughput.begin()
    for _ in range(30):
        now[0] += 0.02
        following = throughput.begin()
        throughput.end(500, running, saturated=False, more_waits=False)
        running = following
    full = throughput.begin()
    throughput.end(500, running, saturated=False, more_waits=False)
    for _ in range(3):
        now[0] += 0.1
        throughput.end(16_000, full, saturated=True, more_waits=True)
        assert throughput.per_s == pytest.approx(160_000, rel=0.05)
        full = throughput.begin()


@pytest.mark.parametrize("apart_s", [0.0, 0.04])
def test_full_batches_beside_one_another_count_each_moment_once(apart_s: float) -> None:
    """Two slots without a pause, each with batches of 8,000 of 100 ms."""
    now = [0.0]
    throughput = Throughput(lambda: now[0])
    first = throughput.begin()
    now[0] += apart_s
    second = throughput.begin()
    for _ in range(10):
        now[0] += 0.1 - apart_s
        throughput.end(8_000, first, saturated=True, more_waits=True)
        first = throughput.begin()
        now[0] += apart_s
        throughput.end(8_000, second, saturated=True, more_waits=True)
        second = throughput.begin()
    assert throughput.per_s == pytest.approx(160_000, rel=0.05)


def test_the_time_beside_a_batch_that_fails_is_of_the_other() -> None:
    now = [0.0]
    throughput = Throughput(lambda: now[0])
    before = throughput.begin()
    throughput.begin()
    now[0] = 1.0
    throughput.fail()
    now[0] = 2.0
    throughput.end(10, before, saturated=True, more_waits=True)
    assert throughput.per_s == pytest.approx(5)


def test_the_time_of_a_batch_that_fails_alone_is_of_none() -> None:
    now = [0.0]
    throughput = Throughput(lambda: now[0])
    throughput.begin()
    now[0] = 1.0
    throughput.fail()
    before = throughput.begin()
    now[0] = 2.0
    throughput.end(10, before, saturated=True, more_waits=True)
    assert throughput.per_s == pytest.approx(10)


def test_an_engine_that_stopped_for_long_is_soon_taken_for_what_it_is() -> None:
    now = [0.0]
    throughput = Throughput(lambda: now[0])

    def compute(took_s: float) -> None:
        before = throughput.begin()
        now[0] += took_s
        throughput.end(1_000, before, saturated=True, more_waits=True)

    compute(25.0)
    assert throughput.per_s == pytest.approx(40)
    for _ in range(10):
        compute(0.1)
    assert throughput.per_s > 6_000, "of 10,000, a busy second later"
