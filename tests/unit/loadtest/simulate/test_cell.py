"""The simulator: virtual time, service times, and replicas that start, are lost or replaced."""

import asyncio
import time

import numpy as np
import pytest

from deployments.autoscaling.arrivals import Stage
from deployments.autoscaling.policy import ScalingRules
from deployments.batching.batcher import BatchLimits
from deployments.config import CallLimits
from deployments.request.deadline import Deadline
from deployments.request.origin import Origin
from deployments.rows.token_rows import TokenRows
from loadtest.simulate import virtual_time
from loadtest.simulate.cell import CellSpec, Outcome, simulate
from loadtest.simulate.engine import StepLimits
from loadtest.simulate.policies import FixedPolicy, Policy, TokenPolicy
from loadtest.simulate.service_times import Sample, ServiceTimes
from loadtest.simulate.stage import SimulatedStage, StageSpec
from loadtest.traffic import Lengths, RequestKind, Surge, Trace, Traffic, generate

# 1,000 tokens/s and nothing for a batch: a request of 10 rows of 10 tokens takes 0.1 s.
_TIMES = ServiceTimes(source="made up", batch_s=0.0, token_s=1e-3)
_SENT = RequestKind(route="embed", share=1, items=10, item=Lengths(median=10, sigma=0))


def _cell(replicas: int = 1, start_up_s: float = 20, **changes: object) -> CellSpec:
    stage = StageSpec(
        times=_TIMES,
        limits=BatchLimits(max_batch_tokens=200),
        step=StepLimits(max_num_batched_tokens=200, max_num_seqs=200),
        calls=CallLimits(tokens=200, at_once=8),
        replicas=replicas,
        start_up_s=start_up_s,
    )
    base = {"stages": {"embed": stage, "rerank": stage}, "overhead_s": 0.0}
    return CellSpec.model_validate(base | changes)


def _traffic(rate: float, duration_s: float = 100, **changes: object) -> Trace:
    base = {"duration_s": duration_s, "requests_per_s": rate, "mix": (_SENT,)}
    return generate(Traffic.model_validate(base | changes), 1)


def _fixed() -> dict[Stage, Policy]:
    return {"embed": FixedPolicy(), "rerank": FixedPolicy()}


def _tokens(**rules: float) -> dict[Stage, Policy]:
    made = ScalingRules(replica_tokens_per_s=1000, **rules)
    return {"embed": TokenPolicy(made), "rerank": TokenPolicy(made)}


def test_an_hour_passes_in_a_moment() -> None:
    async def sleep() -> float:
        await asyncio.sleep(3600)
        return asyncio.get_running_loop().time()

    began = time.monotonic()
    assert virtual_time.run(sleep()) == 3600
    assert time.monotonic() - began < 60


def test_waiting_for_what_never_comes_is_an_error() -> None:
    async def wait() -> None:
        await asyncio.Event().wait()

    with pytest.raises(RuntimeError, match="no timer is set"):
        virtual_time.run(wait())


def test_a_request_alone_takes_its_engines_time() -> None:
    outcome = simulate(_cell(), _fixed(), _traffic(0.2))
    assert outcome.percentile_s(10) == pytest.approx(0.1)


def test_at_half_load_waits_are_those_of_queueing_theory() -> None:
    """An M/D/1 queue at 0.5 waits half a service time on average (Pollaczek and Khinchine); a
    batch of two takes as long as both alone, and neither leaves before it ends."""
    outcome = simulate(_cell(), _fixed(), _traffic(5, duration_s=4000))
    mean_s = float(outcome.latency_s.mean())
    assert 0.14 < mean_s < 0.18


def test_more_than_the_engine_can_do_fails_or_waits_and_the_rest_is_done_at_its_pace() -> None:
    outcome = simulate(_cell(deadline_s=5.0), _fixed(), _traffic(20))
    answered = len(outcome.trace) - outcome.failures()
    assert answered == pytest.approx(10 * 105, rel=0.08)


def test_a_run_is_the_same_again() -> None:
    first, again = (simulate(_cell(2), _fixed(), _traffic(12)) for _ in range(2))
    assert np.array_equal(first.latency_s, again.latency_s)


def test_a_surge_is_met_a_start_up_later_and_its_replicas_are_paid() -> None:
    surge = Surge(at_s=100, lasts_s=400, times=6)
    trace = _traffic(3, duration_s=400, surges=(surge,))
    outcome = simulate(_cell(), _tokens(start_up_s=20, up_delay_s=2), trace)
    serving = {moment.at_s: moment.serving for moment in outcome.moments["embed"]}
    assert serving[98] <= 2
    assert serving[118] == serving[98]
    assert serving[160] >= 3
    late = outcome.latency_s[trace.at_s > 250]
    assert np.nanpercentile(late, 95) < 1.0
    assert outcome.gpu_hours["embed"] * 3600 > 400 + 2 * 240


def _run_with(event: str, replicas: int, duration_s: float = 200) -> Outcome:
    def lose(stages: dict[Stage, SimulatedStage]) -> None:
        stages["embed"].lose(1)

    def upgrade(stages: dict[Stage, SimulatedStage]) -> None:
        stages["embed"].upgrade()

    action = {"lose": lose, "upgrade": upgrade}[event]
    trace = _traffic(12, duration_s=duration_s)
    return simulate(_cell(replicas), _fixed(), trace, events=((50.0, action),))


def test_a_lost_replicas_work_is_done_by_another_and_a_new_one_starts() -> None:
    outcome = _run_with("lose", replicas=3)
    assert outcome.failures() == 0
    serving = {moment.at_s: moment.serving for moment in outcome.moments["embed"]}
    assert (serving[48], serving[60], serving[80]) == (3, 2, 3)


def test_a_loss_is_replaced_once_it_is_noticed() -> None:
    spec = _cell(3)
    embed = spec.stages["embed"].model_copy(update={"health_check_period_s": 10})
    spec = spec.model_copy(update={"stages": spec.stages | {"embed": embed}})
    trace = _traffic(12, duration_s=200)
    events = ((50.0, lambda stages: stages["embed"].lose(1)),)
    serving = [
        {
            one.at_s: one.serving
            for one in simulate(which, _fixed(), trace, 0, events).moments["embed"]
        }
        for which in (_cell(3), spec)
    ]
    assert [[one[at_s] for at_s in (60, 76, 86)] for one in serving] == [[2, 3, 3], [2, 2, 3]]


def test_an_upgrade_replaces_all_and_fails_nothing() -> None:
    outcome = _run_with("upgrade", replicas=2)
    assert outcome.failures() == 0
    assert outcome.percentile_s(99) < 1.0
    # One more GPU for two start-ups of 20 s.
    assert outcome.gpu_hours["embed"] * 3600 == pytest.approx(2 * 200 + 2 * 20, abs=6)


@pytest.mark.parametrize("replicas", [6, 5])
def test_an_upgrade_has_as_many_more_as_the_surge_allows(replicas: int) -> None:
    """Two at a time, the fifth of five alone, of 20 s each: all is new at 110 s, and paid for."""
    outcome = _run_with("upgrade", replicas=replicas, duration_s=120)
    paid_s = replicas * 120 + replicas * 20
    assert outcome.gpu_hours["embed"] * 3600 == pytest.approx(paid_s, abs=15)


def test_a_replica_with_all_the_requests_it_may_have_takes_no_more() -> None:
    async def calls() -> list[int]:
        clock = asyncio.get_running_loop().time
        spec = _cell(replicas=2).stages["embed"].model_copy(update={"max_ongoing_requests": 3})
        stage = SimulatedStage(spec, clock, seed=1)
        rows = TokenRows(np.zeros(100, np.int32), np.full(10, 10, np.int32))
        origin = Origin("a", "default")
        all_calls = [
            asyncio.create_task(stage.call(rows, Deadline.after(60, clock), origin))
            for _ in range(10)
        ]
        await asyncio.sleep(0.04)
        under_way = sorted(replica.calls for replica in stage.serving)
        await asyncio.gather(*all_calls)
        return under_way

    assert virtual_time.run(calls()) == [3, 3]


def test_a_stage_asleep_wakes_for_the_first_request() -> None:
    spec = _cell(replicas=0)
    stages = {name: one.model_copy(update={"lowest": 0}) for name, one in spec.stages.items()}
    trace = _traffic(0.2, duration_s=30)
    outcome = simulate(spec.model_copy(update={"stages": stages}), _tokens(), trace)
    assert outcome.failures() == 0
    assert outcome.moments["embed"][0].serving == 0
    assert outcome.latency_s[0] > 20


def test_service_times_are_found_again_from_samples() -> None:
    true = ServiceTimes(source="", batch_s=0.004, token_s=2e-4, square_s=1e-7)
    shapes = [(1, 10), (1, 250), (32, 30), (8, 128), (64, 32), (4, 250)]
    samples = [
        Sample((tokens,) * rows, true.seconds(np.full(rows, tokens, np.int32)))
        for rows, tokens in shapes
    ]
    found = ServiceTimes.fit(samples, "")
    assert found.batch_s == pytest.approx(true.batch_s, rel=0.01)
    assert found.token_s == pytest.approx(true.token_s, rel=0.01)
    assert found.square_s == pytest.approx(true.square_s, rel=0.01)


def test_no_fitted_term_is_below_zero() -> None:
    samples = [Sample((10,), 0.011), Sample((100,), 0.09), Sample((200,), 0.16)]
    found = ServiceTimes.fit(samples, "")
    assert min(found.batch_s, found.token_s, found.square_s) >= 0


@pytest.mark.parametrize("busy_by", ["calls", "tokens"])
def test_a_replica_is_chosen_by_what_the_stage_counts(busy_by: str) -> None:
    """One replica has a large call, the other two small ones; the less busy one is chosen."""

    async def chosen() -> list[int]:
        clock = asyncio.get_running_loop().time
        spec = _cell(replicas=2).stages["embed"].model_copy(update={"busy_by": busy_by})
        stage = SimulatedStage(spec, clock, seed=1)
        large, small = stage.serving
        large.calls, large.tokens = 1, 1000
        small.calls, small.tokens = 2, 20
        rows = TokenRows(np.zeros(10, np.int32), np.array([10], np.int32))
        call = asyncio.create_task(
            stage.call(rows, Deadline.after(60, clock), Origin("a", "default"))
        )
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        grown = [large.calls - 1, small.calls - 2]
        await call
        return grown

    assert virtual_time.run(chosen()) == ([1, 0] if busy_by == "calls" else [0, 1])


def test_stretched_times_stretch_every_batch() -> None:
    times = ServiceTimes(source="", batch_s=0.004, token_s=2e-4, square_s=1e-7)
    lengths = np.array([10, 250, 32], np.int32)
    assert times.stretched(1.5).seconds(lengths) == pytest.approx(1.5 * times.seconds(lengths))
