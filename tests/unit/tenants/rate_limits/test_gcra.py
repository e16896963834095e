"""GCRA: what it grants in any stretch of time, and the times that it answers with."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.tenants.rate_limits.gcra import decide

PER_MIN = 60  # one a second


@given(st.lists(st.tuples(st.floats(0, 90), st.integers(0, 70)), max_size=60))
def test_no_stretch_of_time_grants_more_than_a_burst_and_the_rate(
    steps: list[tuple[float, int]],
) -> None:
    now_s, tat_s, granted = 1000.0, None, list[tuple[float, int]]()
    for pause_s, cost in steps:
        now_s += pause_s
        decision, after_s = decide(tat_s, now_s, cost, PER_MIN)
        if decision.granted:
            tat_s = after_s
            granted.append((now_s, cost))
    for first, (start_s, _) in enumerate(granted):
        total = 0
        for at_s, cost in granted[first:]:
            total += cost
            assert total <= PER_MIN + (at_s - start_s) + 1e-6


@given(st.integers(0, PER_MIN), st.integers(1, PER_MIN))
def test_a_refused_cost_is_granted_after_its_retry_time_and_not_before(
    taken: int, cost: int
) -> None:
    _, tat_s = decide(None, 0.0, taken, PER_MIN)
    refused, _ = decide(tat_s, 0.0, cost, PER_MIN)
    if refused.granted:
        assert taken + cost <= PER_MIN
        return
    assert refused.remaining == PER_MIN - taken
    assert refused.retry_s == pytest.approx(taken + cost - PER_MIN)
    assert refused.reset_s == pytest.approx(taken)
    assert not decide(tat_s, refused.retry_s - 0.01, cost, PER_MIN)[0].granted
    assert decide(tat_s, refused.retry_s + 0.01, cost, PER_MIN)[0].granted
