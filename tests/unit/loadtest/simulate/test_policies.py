"""The policies that Winnow's is compared with, against sizes worked out by hand."""

import numpy as np
import pytest
from ray.serve.config import AutoscalingConfig

from deployments.autoscaling.policy import StageSize
from loadtest.simulate.compare import (
    REPORTED,
    TUNING,
    case,
    foresight,
    keda,
    others,
    ray_default,
    score,
    surprised,
)
from loadtest.simulate.policies import (
    ForesightPolicy,
    KedaPolicy,
    KedaRule,
    Observation,
    Policy,
    RayDefaultPolicy,
    SparePolicy,
    Unforeseen,
)


def _follow(policy: Policy, calls: list[int], step_s: float, start: int = 1) -> list[int]:
    """Return the size after each of these numbers of calls; replicas start at once."""
    sizes, size = [], start
    for number, count in enumerate(calls):
        seen = Observation(number * step_s, None, StageSize(size, size, 1, 50), count)
        size = policy.decide(seen)
        sizes.append(size)
    return sizes


def test_rays_default_rises_after_its_delay_to_calls_over_target() -> None:
    config = AutoscalingConfig(
        target_ongoing_requests=2, max_replicas=50, look_back_period_s=10, metrics_interval_s=2,
        upscale_delay_s=10, downscale_delay_s=60,
    )  # fmt: skip
    sizes = _follow(RayDefaultPolicy(config), [12] * 10 + [2] * 50, step_s=2)
    assert sizes[4:6] == [1, 6]
    assert sizes[10 + 30] == 6
    assert sizes[-1] == 1


def test_kedas_rule_has_a_tolerance_a_pace_and_a_window() -> None:
    sizes = _follow(KedaPolicy(KedaRule(threshold=2)), [21] * 5 + [4] * 25, step_s=15)
    # At most 4 more or doubled at a time; 21 / 2 / 10 is within the tolerance.
    assert sizes[:4] == [5, 10, 10, 10]
    assert sizes[5 + 18] == 10
    assert sizes[-1] == 2


def test_foresight_asks_a_start_up_ahead_and_bridges_short_dips() -> None:
    need = np.array([1] * 6 + [4] * 2 + [1] + [4] + [1] * 5)
    policy = ForesightPolicy(need, 10.0, start_up_s=20)
    sizes = _follow(policy, [0] * 15, step_s=10)
    assert sizes == [1, 1, 1, 4, 4, 4, 4, 4, 4, 4, 1, 1, 1, 1, 1]


def test_foresight_without_surges_learns_of_one_when_it_begins_and_of_the_rest_ahead() -> None:
    """Needs 2 from bin 3 on, and 5 in a surge from 6 to 8."""
    need = np.array([1] * 3 + [2] * 3 + [5] * 3 + [2] * 6)
    begins = np.array([0] * 6 + [6] * 3 + [0] * 6)
    unforeseen = Unforeseen(begins, np.array([1] * 3 + [2] * 12))
    policy = ForesightPolicy(need, 10.0, start_up_s=20, unforeseen=unforeseen)
    sizes = _follow(policy, [0] * 15, step_s=10)
    assert sizes == [2, 2, 2, 2, 2, 2, 5, 5, 5, 2, 2, 2, 2, 2, 2]


def test_the_case_of_foresight_without_surges_has_all_but_the_surge() -> None:
    """The noisy tenant's surge begins at 1200 s; what the spares see before is no more."""
    traffic, seed = REPORTED["noisy tenant"]
    made = case(traffic.model_copy(update={"duration_s": 1500.0}), seed)
    knows = foresight(0.7).make(made)["rerank"]
    does_not = surprised(0).make(made)["rerank"]
    spare = surprised(2).make(made)["rerank"]
    size = StageSize(1, 1, 1, 50)

    def at(policy: Policy, now_s: float) -> int:
        return policy.decide(Observation(now_s, None, size, 0))

    assert at(knows, 1100) > at(does_not, 1100) == at(does_not, 1190)
    assert at(knows, 1210) == at(does_not, 1210) > at(does_not, 1190)
    assert at(spare, 1100) == at(does_not, 1100) + 2


def test_spares_come_on_top_of_a_size_and_are_not_counted_into_it() -> None:
    class OneMore:
        def decide(self, seen: Observation) -> int:
            return max(3, seen.size.running)

    assert _follow(SparePolicy(OneMore(), 2), [0] * 4, step_s=1) == [5, 5, 5, 5]


def test_no_trace_is_both_for_tuning_and_reported() -> None:
    assert not {repr(one) for one in TUNING.values()} & {repr(one) for one in REPORTED.values()}


def test_every_policy_has_settings_and_a_right_start() -> None:
    assert {one.policy for one in others()} == {
        "Ray default",
        "KEDA queue",
        "foresight",
        "foresight without surges + spares",
    }
    traffic, seed = REPORTED["spike"]
    spec = case(traffic.model_copy(update={"duration_s": 200.0}), seed).spec
    assert spec.stages["rerank"].limits.slots == 2
    assert 4 <= spec.stages["rerank"].replicas <= 8


@pytest.mark.parametrize("contender", [keda(1.0), ray_default(1.0, 120)])
def test_a_policy_is_scored_on_a_trace(contender: object, monkeypatch: pytest.MonkeyPatch) -> None:
    traffic, seed = TUNING["bursts"]
    short = traffic.model_copy(update={"duration_s": 60.0})
    monkeypatch.setitem(TUNING, f"short {contender}", (short, seed))
    scored = score(contender, False, f"short {contender}")  # type: ignore[arg-type]
    assert scored.requests > 300
    assert 0 < scored.gpu_hours < 1
    assert 0 <= scored.violations < 0.5
