"""Winnow's autoscaling policy, Ray Serve's default, a KEDA rule and foresight on the same traces.

Engines share their slots, and stages have the lower bounds and the start-up time, of the profile
`production`; its models would need traces that take days to simulate, so a larger model is assumed,
with batches of its own, on a whole GPU, and another upper bound. Scores a policy by the share of
requests late or failed, and by the GPU-hours paid for that. Rules were tuned on the `TUNING`
traces; results are those of the `REPORTED` ones, of other shapes and seeds. The other policies are
shown at several settings each, because the share of late requests means nothing without its price.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray
from ray.serve.config import AutoscalingConfig

from deployments.autoscaling.arrivals import Stage
from deployments.autoscaling.policy import ScalingRules
from loadtest.simulate.cell import STAGES, CellSpec, simulate
from loadtest.simulate.policies import (
    ForesightPolicy,
    KedaPolicy,
    KedaRule,
    Policy,
    RayDefaultPolicy,
    SparePolicy,
    TokenPolicy,
    Unforeseen,
)
from loadtest.simulate.profiled import production, scaling_rules, stage_spec, with_batches_of
from loadtest.simulate.service_times import ROW_S, ServiceTimes
from loadtest.simulate.stage import StageSpec
from loadtest.traffic import Lengths, RequestKind, Surge, Tenant, Trace, Traffic, generate

# A large model on one GPU; assumed, because no GPU was available.
_TIMES = ServiceTimes(source="assumed", batch_s=0.01, token_s=1e-4, row_s=ROW_S)
_BATCH_TOKENS = 4096
REPLICA_TOKENS_PER_S = _TIMES.tokens_per_s(_BATCH_TOKENS, 200)
_SLO_S = 2.0
# Unbounded, a rule on queues asks for hundreds of replicas while its first ones start.
_MOST_REPLICAS = 24
_FORESIGHT_BIN_S = 10.0
SPARES = (2, 4, 6, 8)
# To which foresight without surges loads the replicas that are not spare.
_UTILISATION = 0.7

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


def rules() -> ScalingRules:
    """Winnow's rules: chosen on TUNING for a start-up of 120 s, not again since.

    Only the start-up time is read from production's.
    """
    return ScalingRules(
        objective_s=1.0,
        replica_tokens_per_s=REPLICA_TOKENS_PER_S,
        start_up_s=scaling_rules(production(), "rerank").start_up_s,
        down_delay_s=120,
    )


@dataclass(frozen=True, slots=True)
class Case:
    """A trace, the traffic that it was drawn from, and the cell that it is sent to."""

    traffic: Traffic
    trace: Trace
    spec: CellSpec


Make = Callable[[Case], dict[Stage, Policy]]


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


def winnow(rules: ScalingRules, setting: str, spare: int = 0) -> Contender:
    name = "Winnow + spares" if spare else "Winnow"
    return Contender(name, setting, partial(_each, partial(_winnow, rules, spare)))


def _winnow(rules: ScalingRules, spare: int) -> Policy:
    return SparePolicy(TokenPolicy(rules), spare)


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
    make = partial(_foresee_all, utilisation, 0, True)
    return Contender("foresight", f"utilisation {utilisation:g}", make)


def surprised(spare: int) -> Contender:
    """Foresight of all but surges, and `spare` replicas."""
    make = partial(_foresee_all, _UTILISATION, spare, False)
    return Contender("foresight without surges + spares", f"{spare} spare", make)


def _each(make: Callable[[], Policy], case: Case) -> dict[Stage, Policy]:
    return {name: make() for name in case.spec.stages}


def _foresee_all(
    utilisation: float, spare: int, sees_surges: bool, case: Case
) -> dict[Stage, Policy]:
    return {
        name: SparePolicy(_foresee(name, case, utilisation, sees_surges), spare)
        for name in case.spec.stages
    }


def _foresee(stage: Stage, case: Case, utilisation: float, sees_surges: bool) -> Policy:
    tokens = case.trace.tokens()[STAGES.index(stage)].astype(np.float64)
    does = _FORESIGHT_BIN_S * REPLICA_TOKENS_PER_S * utilisation

    def need(tokens: NDArray[np.float64]) -> NDArray[np.int64]:
        return np.ceil(_binned(case.trace, tokens) / does).astype(np.int64)

    start_up_s = case.spec.stages[stage].start_up_s
    unforeseen = None
    if not sees_surges:
        factor, began_s = _surges(case)
        begins = np.zeros(len(need(tokens)), np.int64)
        np.maximum.at(begins, _bins(case.trace), (began_s / _FORESIGHT_BIN_S).astype(np.int64))
        unforeseen = Unforeseen(begins, need(tokens / factor))
    return ForesightPolicy(need(tokens), _FORESIGHT_BIN_S, start_up_s, unforeseen)


def _surges(case: Case) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """By how much surges multiplied the rate when each request came, and when the last of those
    began, seconds (0: none): two float64 [requests].

    Where surges overlap the whole factor is taken to begin with the last; no trace here has such.
    """
    at_s, tenants = case.trace.at_s, case.trace.tenants
    factor, began_s = np.ones(len(at_s)), np.zeros(len(at_s))
    everyone = [(surge, np.full(len(at_s), True)) for surge in case.traffic.surges]
    own = [
        (surge, tenants == number)
        for number, tenant in enumerate(case.traffic.tenants)
        for surge in tenant.surges
    ]
    for surge, sends in everyone + own:
        times = np.where(sends, surge.factor(at_s), 1.0)
        factor *= times
        began_s = np.where(times > 1, np.maximum(began_s, surge.at_s), began_s)
    return factor, began_s


def _bins(trace: Trace) -> NDArray[np.int64]:
    return (trace.at_s / _FORESIGHT_BIN_S).astype(np.int64)


def _binned(trace: Trace, tokens: NDArray[np.float64]) -> NDArray[np.float64]:
    """Add up the tokens of each bin, float64 [bins]."""
    return np.bincount(_bins(trace), weights=tokens).astype(np.float64)


def ours() -> Iterator[Contender]:
    """Winnow's rules, the same with more headroom or with spare replicas or production's delays."""
    ours = rules()
    yield winnow(ours, "rules")
    for headroom in (2, 5):
        yield winnow(ours.model_copy(update={"headroom": headroom}), f"headroom {headroom}")
    for spare in SPARES:
        yield winnow(ours, f"{spare} spare", spare)
    theirs = scaling_rules(production(), "rerank")
    delays = {"down_delay_s": theirs.down_delay_s, "drain_s": theirs.drain_s}
    yield winnow(ours.model_copy(update=delays), "production's delays")


# A replica that is kept busy has four: two slots of two calls.
CALLS_A_REPLICA = (0.75, 1.0, 1.5, 2.0, 3.0, 4.0)


def others(calls_a_replica: Sequence[float] = CALLS_A_REPLICA) -> Iterator[Contender]:
    """The other policies; Ray's and KEDA's rules aim at each of `calls_a_replica`."""
    for calls in calls_a_replica:
        yield ray_default(calls, 300)
        yield keda(calls)
    for utilisation in (0.6, 0.7, 0.8):
        yield foresight(utilisation)
    for spare in (0, *SPARES):
        yield surprised(spare)


def case(traffic: Traffic, seed: int, seconds: float = math.inf) -> Case:
    """Draw the trace; make the cell, with the replicas that the start of the trace needs."""
    trace = generate(traffic, seed).until(seconds)
    stages: dict[Stage, StageSpec] = {}
    for name in STAGES:
        tokens = trace.tokens()[STAGES.index(name)].astype(np.float64)
        work = _binned(trace, tokens)[:12].mean() / _FORESIGHT_BIN_S / REPLICA_TOKENS_PER_S
        made = stage_spec(production(), name, _TIMES, highest=_MOST_REPLICAS, gpus=1.0)
        replicas = max(made.lowest, int(np.ceil(work + np.sqrt(work))))
        made = made.model_copy(update={"replicas": replicas})
        stages[name] = with_batches_of(made, _BATCH_TOKENS)
    return Case(traffic, trace, CellSpec(stages=stages, slo_s=_SLO_S))


@cache
def _case(reported: bool, name: str, seconds: float) -> Case:
    return case(*(REPORTED if reported else TUNING)[name], seconds)


def score(
    contender: Contender, reported: bool, name: str, seconds: float = math.inf
) -> PolicyScore:
    """Simulate a policy on `seconds` of the trace `name` of REPORTED, or else of TUNING."""
    made = _case(reported, name, seconds)
    outcome = simulate(made.spec, contender.make(made), made.trace)
    return PolicyScore(
        contender.policy,
        contender.setting,
        name,
        len(made.trace),
        outcome.violations(),
        outcome.percentile_s(99),
        outcome.total_gpu_hours(),
    )
