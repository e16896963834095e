"""Turns: nothing lost, order kept, shares by weight, floors held, nobody starved."""

from collections import Counter, defaultdict
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployments.batching.fair_queue import FairQueue
from deployments.request.origin import Lane, Origin

_LANES: list[Lane] = ["interactive", "default", "bulk"]
_ORIGINS = st.builds(
    Origin, st.sampled_from("abcd"), st.sampled_from(_LANES), st.sampled_from([1.0, 2.0])
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(_ORIGINS, st.sampled_from([5, 50]), st.integers(0, 3)), max_size=60))
def test_all_leave_once_and_a_tenants_in_order_of_arrival(
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
    assert queue.cost == 0
    by_tenant: dict[tuple[str, str], list[int]] = defaultdict(list)
    for number in left:
        origin, _, _ = arrivals[number]
        by_tenant[origin.tenant, origin.lane].append(number)
    for numbers in by_tenant.values():
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


def test_who_had_less_than_its_share_goes_first_until_its_credit_is_used() -> None:
    queue: FairQueue[str] = FairQueue()
    queue.credit = 100
    queue.push("steady", 10**6, Origin("steady"))
    for _ in range(20):
        served_shares(queue, 20)
        queue.push("now and then", 60, Origin("now and then"))
        left = 6
        while left:
            mine = queue.head() == "now and then"
            left -= mine
            queue.serve(10, leaves=mine and not left)
    served_shares(queue, 50)
    assert queue.cost_until_done(150, Origin("seldom")) == 100 + 2 * 50
    queue.push("seldom", 10**6, Origin("seldom"))
    first = served_shares(queue, 10)
    assert first == {"seldom": 100}
    after = served_shares(queue, 200)
    assert after["seldom"] == pytest.approx(after["steady"], abs=20)


@pytest.mark.parametrize("credit", [0, 100])
def test_leaving_and_coming_back_gains_nothing(credit: int) -> None:
    queue: FairQueue[str] = FairQueue()
    queue.credit = credit
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


def test_work_that_is_removed_leaves_its_place_to_others() -> None:
    queue: FairQueue[str] = FairQueue()
    for name in ("first", "second"):
        queue.push(name, 100, Origin("t"))
    queue.push("other", 100, Origin("o"))
    queue.serve(30, leaves=False)
    queue.remove("first", 70, Origin("t"))
    assert queue.cost == 200
    assert queue.cost_until_done(10, Origin("t")) == 210
    queue.remove("other", 100, Origin("o"))
    assert served_shares(queue, 3) == {"second": 30}
    queue.remove("second", 70, Origin("t"))
    assert not queue
    assert queue.cost == 0
    with pytest.raises(ValueError, match="waits"):
        queue.remove("second", 70, Origin("t"))


def test_a_turn_that_goes_on_keeps_the_head_and_is_charged_as_a_whole() -> None:
    queue: FairQueue[str] = FairQueue()
    for name in ("a1", "a2", "a3"):
        queue.push(name, 10, Origin("a"))
    queue.push("b", 100, Origin("b"))
    queue.serve(10, leaves=True, turn_ends=False)
    assert queue.head() == "a2"
    queue.serve(10, leaves=True, turn_ends=False)
    queue.end_turn()
    assert served_shares(queue, 2) == {"b": 20}
    queue.end_turn()
    assert served_shares(queue, 2)["a3"] == 10


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


def test_what_goes_first_is_the_own_backlog_and_the_others_shares_meanwhile() -> None:
    queue: FairQueue[str] = FairQueue()
    assert queue.cost_until_done(10, Origin("quiet")) == 10
    queue.push("x", 1_000, Origin("noisy"))
    assert queue.cost_until_done(10, Origin("quiet")) == 20
    assert queue.cost_until_done(10, Origin("heavy", weight=4)) == pytest.approx(12.5)
    assert queue.cost_until_done(10, Origin("noisy")) == 1_010
    queue.push("y", 100, Origin("quiet"))
    assert queue.cost_until_done(10, Origin("quiet")) == 220
    assert queue.cost_until_done(10, Origin("noisy")) == 1_110, "no more than all that waits"


def test_lanes_wait_for_higher_ones_and_for_the_floors_of_lower_ones() -> None:
    queue: FairQueue[str] = FairQueue()
    queue.push("x", 1_000, Origin("noisy"))
    assert queue.cost_until_done(10, Origin("any", "interactive")) == pytest.approx(12.5)
    assert queue.cost_until_done(500, Origin("any", "bulk")) == 1_500
    assert queue.cost_until_done(10, Origin("any", "bulk")) == pytest.approx(200)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(_ORIGINS, st.integers(1, 50)), max_size=30), _ORIGINS, st.integers(1, 50))
def test_nothing_is_done_later_than_was_foreseen_unless_others_come(
    waiting: list[tuple[Origin, int]], origin: Origin, tokens: int
) -> None:
    """But for a turn of each who waits, and of a lower lane's first in 20. A tenant has one weight
    in a lane."""
    weights: dict[tuple[str, str], float] = {}

    def weighed(one: Origin) -> Origin:
        return replace(one, weight=weights.setdefault((one.tenant, one.lane), one.weight))

    queue: FairQueue[int] = FairQueue()
    left = [size for _, size in waiting] + [tokens]
    for number, (one, size) in enumerate(waiting):
        queue.push(number, size, weighed(one))
    foreseen = queue.cost_until_done(tokens, weighed(origin))
    queue.push(len(waiting), tokens, weighed(origin))
    served = 0
    while left[-1]:
        item = queue.head()
        left[item] -= 1
        queue.serve(1, leaves=not left[item])
        served += 1
    assert served <= foreseen + len(weights) + 20


def test_what_left_is_forgotten() -> None:
    queue: FairQueue[str] = FairQueue()
    queue.push("stays", 10**6, Origin("stays"))
    for number in range(1_000):
        queue.push("comes and goes", 1, Origin(f"tenant-{number}"))
        while queue.head() == "stays":
            queue.serve(1, leaves=False)
        queue.serve(1, leaves=True)
    assert len(queue._bands["default"].tenants._flows) < 200
