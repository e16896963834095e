"""Winnow's autoscaling policy, Ray Serve's default, a KEDA rule and foresight on the same traces.

Scores a policy by the share of requests late or failed, and by the GPU-hours paid for that. Rules
were tuned on the `TUNING` traces; results are those of the `REPORTED` ones, of other shapes and
seeds. The other policies are shown at several settings each, because the share of late requests
means nothing without its price.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray
from ray.serve.config import AutoscalingConfig

from deployments.autoscaling.arrivals import Stage
from deployments.autoscaling.policy import ScalingRules
from deployments.batching.batcher import BatchLimits
from deployments.config import CallLimits
from loadtest.simulate.cell import STAGES, CellSpec, simulate
from loadtest.simulate.policies import (
    ForesightPolicy,
    KedaPolicy,
    KedaRule,
    Policy,
    RayDefaultPolicy,
    TokenPolicy,
)
from loadtest.simulate.service_times import ServiceTimes
from loadtest.simulate.stage import StageSpec
from loadtest.traffic import Lengths, RequestKind, Surge, Tenant, Trace, Traffic, generate

# A large model on one GPU; assumed, because no GPU was available.
_TIMES = ServiceTimes(source="assumed", batch_s=0.01, token_s=1e-4)
_BATCH_TOKENS = 4096
_START_UP_S = 120.0
REPLICA_TOKENS_PER_S = _TIMES.tokens_per_s(_BATCH_TOKENS, 200)
_SLO_S = 2.0
# Unbounded, a rule on queues asks for hundreds of replicas while its first ones start.
_MOST_REPLICAS = 24
_FORESIGHT_BIN_S = 10.0

_MIX = (
    RequestKind(route="search", share=0.7, items=20, item=Lengths(median=180)),
    RequestKind(route="embed", share=0.2, items=32, item=Lengths(median=180)),
    RequestKind(route="rerank", share=0.1, items=50, item=Lengths(median=180)),
)
_TENANTS = tuple(Tenant(name=name) for name in "abcdefgh")
_NOISY = Tenant(name="noisy", surges=(Surge(at_s=1200, lasts_s=300, times=10),))


def _traffic(**changes: object) -> Traffic:
    base = {"duration_s": 3000, "requests_per_s": 8, "tenants": _TENANTS, "mix": _MIX}
    return Traffic.model_validate(base | changes)


TUNING: dict[str, tuple[Traffic, int]] = {
    "day": (_traffic(day_s=3000, swing=0.6, burstiness=0.2), 1),
    "spike": (_traffic(surges=(Surge(at_s=1000, lasts_s=400, times=3, ramp_s=60),)), 2),
    "bursts": (_traffic(burstiness=0.5), 3),
}
REPORTED: dict[str, tuple[Traffic, int]] = {
    "day": (_traffic(day_s=2500, swing=0.75, burstiness=0.1), 11),
    "spike": (_traffic(surges=(Surge(at_s=700, lasts_s=300, times=4, ramp_s=30),)), 12),
    "two surges": (
        _traffic(
            burstiness=0.2,
            surges=(
                Surge(at_s=500, lasts_s=900, times=1.8, ramp_s=200),
                Surge(at_s=1900, lasts_s=200, times=2.5, ramp_s=20),
            ),
        ),
        13,
    ),
    "bursts": (_traffic(burstiness=0.8), 14),
    "noisy tenant": (_traffic(tenants=(*_TENANTS, _NOISY), burstiness=0.1), 15),
}

# Chosen on TUNING.
RULES = ScalingRules(
    objective_s=1.0,
    replica_tokens_per_s=REPLICA_TOKENS_PER_S,
    start_up_s=_START_UP_S,
    down_delay_s=120,
)

Make = Callable[[CellSpec, Trace], dict[Stage, Policy]]


@dataclass(frozen=True, slots=True)
class Contender:
    """A policy and one setting of it."""

    policy: str
    setting: str
    make: Make


@dataclass(frozen=True, slots=True)
class PolicyScore:
    """A policy's result on one trace; `violations` is the share late or failed."""

    policy: str
    setting: str
    trace: str
    requests: int
    violations: float
    p99_s: float
    gpu_hours: float


def winnow(rules: ScalingRules, setting: str = "") -> Contender:
    return Contender("Winnow", setting, partial(_each, partial(TokenPolicy, rules)))


def ray_default(target: float, down_delay_s: float) -> Contender:
    config = AutoscalingConfig(
        min_replicas=1,
        max_replicas=_MOST_REPLICAS,
        target_ongoing_requests=target,
        look_back_period_s=10,
        metrics_interval_s=2,
        upscale_delay_s=10,
        downscale_delay_s=down_delay_s,
    )
    setting = f"{target:g} a replica, down {down_delay_s:g} s"
    return Contender("Ray default", setting, partial(_each, partial(RayDefaultPolicy, config)))


def keda(threshold: float) -> Contender:
    make = partial(_each, partial(KedaPolicy, KedaRule(threshold)))
    return Contender("KEDA queue", f"{threshold:g} a replica", make)


def foresight(utilisation: float) -> Contender:
    make = partial(_foresee_all, utilisation)
    return Contender("foresight", f"utilisation {utilisation:g}", make)


def _each(make: Callable[[], Policy], spec: CellSpec, _: Trace) -> dict[Stage, Policy]:
    return {name: make() for name in spec.stages}


def _foresee_all(utilisation: float, spec: CellSpec, trace: Trace) -> dict[Stage, Policy]:
    return {name: _foresee(name, spec, trace, utilisation) for name in spec.stages}


def _foresee(stage: Stage, spec: CellSpec, trace: Trace, utilisation: float) -> ForesightPolicy:
    work = _binned(stage, trace)
    start_up_s = spec.stages[stage].start_up_s
    return ForesightPolicy(work, _FORESIGHT_BIN_S, REPLICA_TOKENS_PER_S, start_up_s, utilisation)


def _binned(stage: Stage, trace: Trace) -> NDArray[np.float64]:
    tokens = trace.tokens()[STAGES.index(stage)]
    bins = (trace.at_s / _FORESIGHT_BIN_S).astype(int)
    return np.bincount(bins, weights=tokens).astype(np.float64)


def ours() -> Iterator[Contender]:
    """Winnow's rules, and the same with more headroom."""
    yield winnow(RULES, "rules")
    for headroom in (2, 3, 5):
        yield winnow(RULES.model_copy(update={"headroom": headroom}), f"headroom {headroom}")


CALLS_A_REPLICA = (0.4, 0.5, 0.6, 0.75, 1.0, 1.5)


def others(calls_a_replica: Sequence[float] = CALLS_A_REPLICA) -> Iterator[Contender]:
    """The other policies; Ray's and KEDA's rules aim at each of `calls_a_replica`."""
    for calls in calls_a_replica:
        yield ray_default(calls, 120)
        yield ray_default(calls, 300)
        yield keda(calls)
    for utilisation in (0.6, 0.7, 0.8, 0.9):
        yield foresight(utilisation)


def cell(trace: Trace) -> CellSpec:
    """Make the cell, with the number of replicas that the start of the trace needs."""
    stages: dict[Stage, StageSpec] = {}
    for name in STAGES:
        work = _binned(name, trace)[:12].mean() / _FORESIGHT_BIN_S / REPLICA_TOKENS_PER_S
        stages[name] = StageSpec(
            times=_TIMES,
            limits=BatchLimits(max_batch_tokens=_BATCH_TOKENS),
            calls=CallLimits(tokens=_BATCH_TOKENS, at_once=8),
            replicas=int(np.ceil(work + np.sqrt(work))),
            highest=_MOST_REPLICAS,
            start_up_s=_START_UP_S,
        )
    return CellSpec(stages=stages, slo_s=_SLO_S)


@cache
def _trace(reported: bool, name: str) -> Trace:
    traffic, seed = (REPORTED if reported else TUNING)[name]
    return generate(traffic, seed)


def score(contender: Contender, reported: bool, name: str) -> PolicyScore:
    """Simulate a policy on the trace `name` of REPORTED, or else of TUNING."""
    trace = _trace(reported, name)
    spec = cell(trace)
    outcome = simulate(spec, contender.make(spec, trace), trace)
    return PolicyScore(
        contender.policy,
        contender.setting,
        name,
        len(trace),
        outcome.violations(),
        outcome.percentile_s(99),
        outcome.total_gpu_hours(),
    )
