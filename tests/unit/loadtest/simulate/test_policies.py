"""The policies that Winnow's is compared with, against sizes worked out by hand."""

import numpy as np
import pytest
from ray.serve.config import AutoscalingConfig

from deployments.autoscaling.policy import StageSize
from loadtest.simulate.compare import (
    REPORTED,
    TUNING,
    cell,
    keda,
    others,
    ray_default,
    score,
)
from loadtest.simulate.policies import (
    ForesightPolicy,
    KedaPolicy,
    KedaRule,
    Observation,
    Policy,
    RayDefaultPolicy,
)
from loadtest.traffic import generate


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
    work = np.array([100.0] * 6 + [400.0] * 2 + [100.0] + [400.0] + [100.0] * 5)
    policy = ForesightPolicy(work, 10.0, 10.0, start_up_s=20, utilisation=1.0)
    sizes = _follow(policy, [0] * 15, step_s=10)
    assert sizes == [1, 1, 1, 4, 4, 4, 4, 4, 4, 4, 1, 1, 1, 1, 1]


def test_no_trace_is_both_for_tuning_and_reported() -> None:
    assert not {repr(one) for one in TUNING.values()} & {repr(one) for one in REPORTED.values()}


def test_every_policy_has_settings_and_a_right_start() -> None:
    assert {one.policy for one in others()} == {"Ray default", "KEDA queue", "foresight"}
    traffic, seed = REPORTED["spike"]
    spec = cell(generate(traffic.model_copy(update={"duration_s": 200.0}), seed))
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
