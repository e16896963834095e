"""The simulated stages are as the profiles say."""

import pytest

from cluster.profile import load_profile
from deployments.engine.base import cores
from loadtest.simulate.profiled import production, scaling_rules, stage_spec, with_batches_of
from loadtest.simulate.service_times import ServiceTimes

_TIMES = ServiceTimes(source="made up", batch_s=0.01, token_s=1e-4)


def test_productions_slots_share_one_engine_and_its_bounds_are_the_profiles() -> None:
    spec = stage_spec(production(), "rerank", _TIMES, replicas=5)
    assert (spec.limits.slots, spec.copies) == (2, 1)
    assert spec.step.max_num_batched_tokens == spec.limits.max_batch_tokens == 16384
    assert spec.step.max_num_seqs == 512
    assert (spec.replicas, spec.lowest, spec.highest) == (5, 2, 16)
    assert (spec.gpus, spec.start_up_s, spec.max_surge_percent) == (0.5, 180, 25)
    assert (spec.max_ongoing_requests, spec.health_check_period_s) == (10_000, 5)
    assert spec.calls.tokens == 8192
    assert scaling_rules(production(), "rerank").down_delay_s == 300


def test_a_local_replica_has_a_slot_for_each_copy_whatever_its_user_config_says() -> None:
    profile = load_profile("local")
    spec = stage_spec(profile, "embed", _TIMES)
    assert spec.limits.slots == spec.copies == min(cores(), 4)
    assert (spec.replicas, spec.highest, spec.gpus) == (1, 1, 0)
    with pytest.raises(KeyError, match="no rules"):
        scaling_rules(profile, "embed")


def test_smaller_batches_have_smaller_steps_and_calls() -> None:
    spec = with_batches_of(stage_spec(production(), "rerank", _TIMES), 4096)
    assert spec.limits.max_batch_tokens == spec.step.max_num_batched_tokens == 4096
    assert spec.calls.tokens == 2048
