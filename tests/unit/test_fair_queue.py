"""Turns: nothing lost, order kept, shares by weight, floors held, nobody starved."""

from collections import Counter, defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployments.fair_queue import FairQueue, Lane, Origin

_LANES: list[Lane] = ["interactive", "default", "bulk"]
_ORIGINS = st.builds(
    Origin, st.sampled_from("abcd"), st.sampled_from(_LANES), st.sampled_from([1.0, 2.0])
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(_ORIGINS, st.sampled_from([5, 50]), st.integers(0, 3)), max_size=60))
def test_all_leave_once_and_equals_of_a_tenant_in_order(
    arrivals: list[tuple[Origin, int, int]],
) -> None:
    queue: FairQueue[int] = FairQueue()
    left: list[int] = []

    def serve_one() -> None:
        item = queue.head()
        queue.serve(arrivals[item][1], leaves=True)
        left.append(item)

    for number, (origin, tokens, served_between) in enumerate(arrivals):
        queue.push(number, tokens, origin)
        for _ in range(served_between):
            if queue:
                serve_one()
    while queue:
        serve_one()
    assert sorted(left) == list(range(len(arrivals)))
    assert queue.tokens == 0
    equals: dict[tuple[str, str, int], list[int]] = defaultdict(list)
    for number in left:
        origin, tokens, _ = arrivals[number]
        equals[origin.tenant, origin.lane, tokens].append(number)
    for numbers in equals.values():
        assert numbers == sorted(numbers)


def served_shares(queue: FairQueue[str], turns: int, turn_tokens: int = 10) -> Counter[str]:
    served: Counter[str] = Counter()
    for _ in range(turns):
        served[queue.head()] += turn_tokens
        queue.serve(turn_tokens, leaves=False)
    return served


@given(st.integers(1, 5), st.integers(1, 5), st.integers(1, 20))
def test_backlogged_tenants_share_by_weight(first: int, second: int, requests: int) -> None:
    queue: FairQueue[str] = FairQueue()
    for _ in range(requests):  # a tenant gains nothing by sending more at once
        queue.push("first", 10**6, Origin("first", weight=first))
    queue.push("second", 10**6, Origin("second", weight=second))
    served = served_shares(queue, 600)
    assert served["first"] / first == pytest.approx(served["second"] / second, abs=20)


def test_a_newcomer_waits_for_no_backlog() -> None:
    queue: FairQueue[str] = FairQueue()
    for _ in range(100):
        queue.push("noisy", 10**6, Origin("noisy"))
    served_shares(queue, 500)
    queue.push("quiet", 10, Origin("quiet"))
    assert "quiet" in served_shares(queue, 2)


def test_leaving_and_coming_back_gains_nothing() -> None:
    queue: FairQueue[str] = FairQueue()
    queue.push("steady", 10**6, Origin("steady"))
    queue.push("hopper", 10**6, Origin("hopper"))
    served: Counter[str] = Counter()
    for _ in range(400):
        name = queue.head()
        served[name] += 10
        queue.serve(10, leaves=name == "hopper")
        if name == "hopper":
            queue.push("hopper", 10**6, Origin("hopper"))
    assert served["hopper"] == pytest.approx(served["steady"], abs=20)


def test_a_small_request_goes_before_a_large_one_and_equals_go_one_by_one() -> None:
    queue: FairQueue[str] = FairQueue()
    for name in ("first", "second"):
        queue.push(name, 1_000, Origin("t"))
    assert served_shares(queue, 50) == {"first": 500}
    queue.push("small", 100, Origin("t"))
    assert served_shares(queue, 2) == {"small": 20}


def test_small_requests_without_end_do_not_starve_a_large_one() -> None:
    queue: FairQueue[str] = FairQueue()
    queue.push("large", 1_000, Origin("t"))
    small_tokens = 0
    while True:
        queue.push("small", 10, Origin("t"))
        if queue.head() == "large":
            break
        queue.serve(10, leaves=True)
        small_tokens += 10
    assert small_tokens <= 2_000


def test_lanes_are_priorities_with_floors() -> None:
    queue: FairQueue[str] = FairQueue()
    for lane in _LANES:
        queue.push(lane, 10**6, Origin("t", lane))
    served = served_shares(queue, 2_000)
    total = sum(served.values())
    assert served["bulk"] / total == pytest.approx(0.05, abs=0.01)
    assert served["default"] / total == pytest.approx(0.2, abs=0.01)


def test_a_lower_lane_alone_runs_up_no_debt() -> None:
    queue: FairQueue[str] = FairQueue()
    queue.push("bulk", 10**6, Origin("t", "bulk"))
    served_shares(queue, 1_000)
    queue.push("interactive", 10**6, Origin("t", "interactive"))
    served = served_shares(queue, 1_000)
    assert served["bulk"] / sum(served.values()) == pytest.approx(0.05, abs=0.01)


def test_ahead_is_the_higher_lanes_and_the_own_share() -> None:
    queue: FairQueue[str] = FairQueue()
    queue.push("x", 1_000, Origin("noisy"))
    assert queue.ahead_tokens(Origin("quiet")) == 0
    assert queue.ahead_tokens(Origin("noisy")) == 1_000
    queue.push("y", 100, Origin("quiet"))
    assert queue.ahead_tokens(Origin("quiet")) == 200
    assert queue.ahead_tokens(Origin("noisy")) == 1_100
    assert queue.ahead_tokens(Origin("any", "bulk")) == 1_100
    assert queue.ahead_tokens(Origin("any", "interactive")) == 0


def test_what_left_is_forgotten() -> None:
    queue: FairQueue[str] = FairQueue()
    queue.push("stays", 10**6, Origin("stays"))
    for number in range(1_000):
        queue.push("comes and goes", 1, Origin(f"tenant-{number}"))
        while queue.head() == "stays":
            queue.serve(1, leaves=False)
        queue.serve(1, leaves=True)
    assert len(queue._bands["default"].tenants._flows) < 200
