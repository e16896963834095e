"""The policy: bounds, monotony, stability under noise, stale signals, and the bulk budget."""

import math
import random
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from deployments.autoscaling.policy import ScalingRules, StageLoad, StageScaler, StageSize
from deployments.request.origin import Lane

_REPLICA = 1000.0
_RULES = ScalingRules(replica_tokens_per_s=_REPLICA)
_STEP_S = 5.0


def load_of(
    rate: float, queued: float = 0.0, lane: Lane = "interactive", age_s: float = 1.0
) -> StageLoad:
    none: dict[Lane, float] = {"interactive": 0.0, "default": 0.0, "bulk": 0.0}
    return StageLoad(none | {lane: rate}, none | {lane: queued}, None, 0.0, age_s)


def sizes(
    rules: ScalingRules, loads: list[StageLoad], start: int = 1, lowest: int = 0
) -> list[int]:
    """Return the target after each load, one a step; replicas start immediately."""
    scaler = StageScaler(rules)
    size = StageSize(start, start, lowest, 100)
    seen = []
    for number, load in enumerate(loads):
        target = scaler.decide(load, size, number * _STEP_S)
        size = replace(size, target=target, running=target)
        seen.append(target)
    return seen


def turns(seen: list[int]) -> int:
    """Count the changes of direction."""
    moves = [b - a for a, b in pairwise(seen) if a != b]
    return sum((a > 0) != (b > 0) for a, b in pairwise(moves))


_LOADS = st.lists(
    st.builds(
        load_of,
        st.floats(0, 200_000),
        st.floats(0, 1e7),
        st.sampled_from(["interactive", "default", "bulk"]),
        st.sampled_from([0.0, 1.0, 100.0, math.inf]),
    ),
    max_size=80,
)


@settings(max_examples=100, deadline=None)
@given(_LOADS, st.integers(0, 5), st.integers(0, 20), st.integers(0, 60), st.integers(0, 60))
def test_bounds_are_kept_under_any_load(
    loads: list[StageLoad], lowest: int, room: int, target: int, running: int
) -> None:
    scaler = StageScaler(_RULES)
    size = StageSize(target, running, lowest, lowest + room)
    for number, load in enumerate(loads):
        decided = scaler.decide(load, size, number * _STEP_S)
        assert lowest <= decided <= lowest + room
        size = replace(size, target=decided)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(0, 20_000), st.floats(0, 1e5), st.floats(0, 3)),
        min_size=1,
        max_size=120,
    ),
    st.floats(1, 5),
)
def test_more_load_never_gets_fewer_replicas(
    trace: list[tuple[float, float, float]], more: float
) -> None:
    light = [replace(load_of(rate, queued), oldest_wait_s=wait) for rate, queued, wait in trace]
    heavy = [
        replace(load_of(rate * more, queued * more), oldest_wait_s=wait * more)
        for rate, queued, wait in trace
    ]
    pairs = zip(sizes(_RULES, light), sizes(_RULES, heavy), strict=True)
    assert all(few <= many for few, many in pairs)


def noisy(rate: float, seed: int) -> list[StageLoad]:
    """A constant load with 4% of noise, within the hysteresis of 10%."""
    chance = random.Random(seed)
    return [load_of(rate * chance.uniform(0.96, 1.04)) for _ in range(500)]


@settings(max_examples=25, deadline=None)
@given(st.floats(500, 50_000), st.integers(0, 1000), st.integers(1, 100))
def test_noise_on_a_constant_load_settles(rate: float, seed: int, start: int) -> None:
    rules = _RULES.model_copy(update={"trend_s": 0.0})
    seen = sizes(rules, noisy(rate, seed), start)
    assert turns(seen) == 0
    assert max(seen[-300:]) - min(seen[-300:]) <= max(1, 0.05 * seen[-1])


def test_noise_is_seldom_taken_for_growth() -> None:
    """With a trend, noise asks for more replicas in at most one of ten runs of 42 minutes."""
    still = _RULES.model_copy(update={"trend_s": 0.0})
    larger = [
        max(sizes(_RULES, noisy(20_000, seed))) > max(sizes(still, noisy(20_000, seed)))
        for seed in range(60)
    ]
    assert sum(larger) <= 6


@settings(max_examples=40, deadline=None)
@given(_LOADS, st.floats(16, 1e6) | st.just(math.inf))
def test_stale_signals_hold_the_size(loads: list[StageLoad], age_s: float) -> None:
    blind = [replace(load, age_s=age_s) for load in loads]
    assert set(sizes(_RULES, blind, start=7)) <= {7}


def test_scaling_down_after_stale_signals_waits_its_whole_delay_again() -> None:
    few = load_of(1000)
    loads = [few] * 50 + [replace(few, age_s=60)] + [few] * 50
    assert set(sizes(_RULES, loads, start=7)) == {7}
    assert sizes(_RULES, [few] * 62, start=7)[-1] < 7


@pytest.mark.parametrize(("work", "replicas"), [(0.5, 2), (1, 2), (4, 6), (9, 12), (64, 72)])
def test_size_is_the_load_and_its_square_root(work: float, replicas: int) -> None:
    assert sizes(_RULES, [load_of(work * _REPLICA)] * 3)[-1] == replicas


def test_measured_throughput_counts_instead_of_the_assumed_one() -> None:
    slower = replace(load_of(4 * _REPLICA), replica_tokens_per_s=_REPLICA / 4)
    assert sizes(_RULES, [slower] * 3)[-1] == 16 + 4


def test_scaling_up_waits_and_scaling_down_waits_longer() -> None:
    rules = _RULES.model_copy(update={"up_delay_s": 10.0, "down_delay_s": 60.0, "trend_s": 0.0})
    seen = sizes(rules, [load_of(4000)] * 10 + [load_of(1000)] * 20)
    assert seen.index(6) == 2
    assert seen[10:].index(3) == 12


def test_a_single_peak_moves_nothing() -> None:
    rules = _RULES.model_copy(update={"up_delay_s": 10.0, "trend_s": 0.0})
    loads = [load_of(1000)] * 20
    loads[10] = load_of(50_000)
    assert set(sizes(rules, loads, start=2)) == {2}


def test_a_backlog_gets_replicas_that_drain_it_in_time() -> None:
    """A backlog of 30 replica-seconds, to be drained in 30 s, needs one replica more."""
    at_rest = sizes(_RULES, [load_of(4000)] * 3)[-1]
    assert sizes(_RULES, [load_of(4000, queued=32_000)] * 3)[-1] == at_rest + 1


def test_work_in_flight_is_no_backlog() -> None:
    assert sizes(_RULES, [load_of(4000, queued=2000)] * 3)[-1] == 6


def test_growth_is_forecast() -> None:
    rules = _RULES.model_copy(update={"start_up_s": 60.0})
    growing = [load_of(4000 + 20 * number * _STEP_S) for number in range(24)]
    # 6,300 now, 7,500 when a replica requested now would serve.
    assert sizes(rules, growing)[-1] == math.ceil(7.5 + math.sqrt(7.5))


def test_a_wait_beyond_the_objective_asks_for_one_more_replica_than_running() -> None:
    late = replace(load_of(0.0), oldest_wait_s=3.0)
    scaler = StageScaler(_RULES)
    size = StageSize(4, 4, 1, 100)
    assert [scaler.decide(late, size, at) for at in (0.0, 5.0)] == [4, 5]


def test_replicas_that_are_being_replaced_do_not_ask_for_more_of_them() -> None:
    late = replace(load_of(0.0), oldest_wait_s=3.0)
    scaler = StageScaler(_RULES)
    surging = StageSize(8, 10, 1, 100)
    assert [scaler.decide(late, surging, at) for at in (0.0, 5.0)] == [8, 9]


def test_bulk_work_stays_within_its_budget() -> None:
    rules = _RULES.model_copy(update={"bulk_replicas": 2.0})
    bulk = load_of(50_000, queued=1e9, lane="bulk")
    assert sizes(_RULES, [bulk] * 5, lowest=1)[-1] == 1
    assert sizes(rules, [bulk] * 5, lowest=1)[-1] == 2


@pytest.mark.parametrize("load", [load_of(500, lane="bulk"), load_of(0, 500, lane="bulk")])
def test_a_stage_does_not_leave_in_the_midst_of_bulk_work(load: StageLoad) -> None:
    """Bulk work has no replicas of its own here: it may wait, but not for a cold start."""
    rules = _RULES.model_copy(update={"down_delay_s": 30.0, "idle_s": 60.0})
    assert sizes(rules, [load] * 40)[-1] == 1
    assert sizes(rules, [load] * 40 + [load_of(0.0)] * 15)[-1] == 0


def test_a_stage_scales_to_zero_after_long_idleness_and_back_immediately() -> None:
    rules = _RULES.model_copy(update={"down_delay_s": 30.0, "idle_s": 300.0})
    seen = sizes(rules, [load_of(1000)] * 5 + [load_of(0.0)] * 70 + [load_of(10.0)])
    idle = seen[5:-1]
    assert idle.index(1) * _STEP_S == pytest.approx(30, abs=_STEP_S)
    assert idle.index(0) * _STEP_S == pytest.approx(300, abs=_STEP_S)
    assert seen[-1] == 1


def test_rules_that_drain_faster_than_the_objective_are_refused() -> None:
    with pytest.raises(ValidationError, match="drain_s"):
        ScalingRules(replica_tokens_per_s=1, objective_s=60, drain_s=30)
