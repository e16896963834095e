"""Stages and rules of the simulator as a profile has them: slots, limits, bounds, start-up times.

Service times are the caller's: no profile knows how fast its engines are.
"""

from functools import cache
from typing import Any

from cluster.profile import application, load_profile
from cluster.stages import MODEL_STAGES, ModelStage
from deployments.autoscaling.policy import ScalingRules, StageScaling
from deployments.batching.batcher import BatchLimits
from deployments.config import RouterConfig
from deployments.engine.base import EngineConfig
from loadtest.simulate.engine import StepLimits
from loadtest.simulate.service_times import ServiceTimes
from loadtest.simulate.stage import StageSpec


@cache
def production() -> dict[str, Any]:
    """Return the profile `production`, for reading."""
    return load_profile("production")


def stage_spec(
    profile: dict[str, Any], stage: ModelStage, times: ServiceTimes, **changes: Any
) -> StageSpec:
    """Make the stage with replicas as at its start, unless `changes` have other fields.

    An engine with copies has a slot for each, whatever the profile's `slots`.
    """
    app = application(profile)
    found = _deployment(app, stage)
    engine = EngineConfig.model_validate(app["args"][MODEL_STAGES[stage].field]["engine"])
    limits = BatchLimits.model_validate(found["user_config"])
    if engine.copies is not None:
        limits = limits.model_copy(update={"slots": engine.engines()})
    scaling = found.get("autoscaling_config", {})
    lowest = int(scaling.get("min_replicas") or found["num_replicas"])
    rules = _rules(app, stage)
    fields: dict[str, Any] = {
        "times": times,
        "limits": limits,
        "step": StepLimits(
            max_num_batched_tokens=engine.max_num_batched_tokens,
            max_num_seqs=engine.max_num_seqs,
        ),
        "calls": getattr(RouterConfig.model_validate(app["args"]["router"]), f"{stage}_calls"),
        "copies": engine.engines(),
        "replicas": lowest,
        "lowest": lowest,
        "highest": int(scaling.get("max_replicas") or lowest),
        "gpus": float(found["ray_actor_options"].get("num_gpus", 0)),
        "max_ongoing_requests": found["max_ongoing_requests"],
        "max_surge_percent": found["max_surge_percent"],
        "health_check_period_s": found["health_check_period_s"],
    }
    if rules is not None:
        fields["start_up_s"] = rules.start_up_s
    return StageSpec(**fields | changes)


def with_batches_of(spec: StageSpec, tokens: int) -> StageSpec:
    """Change the size of batches, and with it that of steps and, in proportion, of calls."""
    limits, step, calls = spec.limits, spec.step, spec.calls
    share = calls.tokens / limits.max_batch_tokens
    return spec.model_copy(
        update={
            "limits": limits.model_copy(update={"max_batch_tokens": tokens}),
            "step": step.model_copy(update={"max_num_batched_tokens": tokens}),
            "calls": calls.model_copy(update={"tokens": int(share * tokens)}),
        }
    )


def scaling_rules(profile: dict[str, Any], stage: ModelStage) -> ScalingRules:
    """Return the stage's rules. Raises KeyError if the profile has none for it."""
    rules = _rules(application(profile), stage)
    if rules is None:
        raise KeyError(f"the profile has no rules for {stage}")
    return rules


def _rules(app: dict[str, Any], stage: ModelStage) -> StageScaling | None:
    stages = app.get("autoscaling_policy", {}).get("policy_kwargs", {}).get("stages", {})
    found = stages.get(MODEL_STAGES[stage].deployment)
    return None if found is None else StageScaling.model_validate(found)


def _deployment(app: dict[str, Any], stage: ModelStage) -> dict[str, Any]:
    found: dict[str, Any]
    name = MODEL_STAGES[stage].deployment
    [found] = [one for one in app["deployments"] if one["name"] == name]
    return found
