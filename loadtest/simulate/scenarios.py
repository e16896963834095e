"""Fleets that no single machine can hold: 1,000 GPUs at full load, a lost region, a model upgrade.

One of `CELLS` equal cells is simulated, with its share of the traffic and the GPUs. This is
pessimistic: a cell's load varies more than the fleet's, so it needs more headroom. The engine's
times are assumed, because no GPU was available.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from deployments.autoscaling.arrivals import Stage
from deployments.autoscaling.policy import ScalingRules
from deployments.batching.batcher import BatchLimits
from deployments.config import CallLimits
from loadtest.simulate.cell import CellSpec, Event, Outcome, simulate
from loadtest.simulate.policies import TokenPolicy
from loadtest.simulate.service_times import ServiceTimes
from loadtest.simulate.stage import SimulatedStage, StageSpec
from loadtest.traffic import Lengths, RequestKind, Surge, Tenant, Traffic, generate

CELLS = 100
GPUS = 10  # a cell
_GPUS_A_REPLICA = 0.5
_TIMES = ServiceTimes(source="assumed", batch_s=0.004, token_s=6.4e-6)
_BATCH_TOKENS = 16384
_RULES = ScalingRules(
    objective_s=0.5,
    replica_tokens_per_s=_TIMES.tokens_per_s(_BATCH_TOKENS, 110),
    start_up_s=120,
    down_delay_s=120,
)
_MIX = (RequestKind(route="search", share=1, items=20, item=Lengths(median=90, sigma=0.4)),)
_TENANTS = tuple(Tenant(name=name) for name in "abcdefgh")


@dataclass(frozen=True, slots=True)
class Scenario:
    """One cell's rate, its rerank replicas at the start, and what happens to it."""

    title: str
    requests_per_s: float
    replicas: int
    surges: tuple[Surge, ...] = ()
    events: Sequence[tuple[float, Event]] = ()


def _lose_a_third(stages: dict[Stage, SimulatedStage]) -> None:
    for stage in stages.values():
        stage.lose(len(stage.serving) // 3)


def _upgrade(stages: dict[Stage, SimulatedStage]) -> None:
    """Upgrade a tenth of the replicas at a time."""
    for stage in stages.values():
        stage.upgrade(at_once=max(1, len(stage.serving) // 10))


SCENARIOS = {
    "full": Scenario(
        "100,000 requests/s on 1,000 GPUs, up from 70,000 in three minutes",
        700,
        16,
        surges=(Surge(at_s=60, lasts_s=1000, times=10 / 7, ramp_s=180),),
    ),
    "region": Scenario(
        "60,000 requests/s, and a third of the GPUs is lost",
        600,
        13,
        events=((100, _lose_a_third),),
    ),
    "upgrade": Scenario(
        "60,000 requests/s, and every replica is replaced", 600, 13, events=((60, _upgrade),)
    ),
}


def play(name: str, seconds: float) -> Outcome:
    """Simulate the scenario for `seconds` of virtual time."""
    scenario = SCENARIOS[name]
    traffic = Traffic(
        duration_s=seconds,
        requests_per_s=scenario.requests_per_s,
        surges=scenario.surges,
        tenants=_TENANTS,
        mix=_MIX,
    )
    spec = StageSpec(
        times=_TIMES,
        limits=BatchLimits(max_batch_tokens=_BATCH_TOKENS, max_batch_rows=512, slots=2),
        calls=CallLimits(),
        replicas=scenario.replicas,
        highest=int((GPUS - 1) / _GPUS_A_REPLICA),
        start_up_s=_RULES.start_up_s,
        gpus=_GPUS_A_REPLICA,
    )
    embed = spec.model_copy(update={"replicas": 2, "highest": 2})
    cell = CellSpec(stages={"embed": embed, "rerank": spec}, slo_s=1.0)
    policies = {stage: TokenPolicy(_RULES) for stage in cell.stages}
    return simulate(cell, dict(policies), generate(traffic, seed=7), events=scenario.events)
