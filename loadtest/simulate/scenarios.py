"""Fleets that no single machine can hold: 1,000 GPUs at full load, a lost region, a model upgrade.

One of `CELLS` equal cells is simulated, with its share of the traffic and the GPUs. This is
pessimistic: a cell's load varies more than the fleet's, so it needs more headroom. Slots, limits,
rules and start-up times are those of the profile `production`; the engine's times are assumed,
because no GPU was available.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from deployments.autoscaling.arrivals import Stage
from loadtest.simulate.cell import CellSpec, Event, Outcome, simulate
from loadtest.simulate.policies import Policy, TokenPolicy
from loadtest.simulate.profiled import production, scaling_rules, stage_spec
from loadtest.simulate.service_times import ROW_S, ServiceTimes
from loadtest.simulate.stage import SimulatedStage, StageSpec
from loadtest.traffic import Lengths, RequestKind, Surge, Tenant, Traffic, generate

CELLS = 100
GPUS = 10  # a cell
_TIMES = ServiceTimes(source="assumed", batch_s=0.004, token_s=6.4e-6, row_s=ROW_S)
_MIX = (RequestKind(route="search", share=1, items=20, item=Lengths(median=90, sigma=0.4)),)
_TENANTS = tuple(Tenant(name=name) for name in "abcdefgh")


@dataclass(frozen=True, slots=True)
class Scenario:
    """One cell's rate, its rerank replicas at the start, and what happens to it in `seconds` of
    virtual time."""

    title: str
    requests_per_s: float
    replicas: int
    seconds: float = 400
    surges: tuple[Surge, ...] = ()
    events: Sequence[tuple[float, Event]] = ()


def _lose_a_third(stages: dict[Stage, SimulatedStage]) -> None:
    for stage in stages.values():
        stage.lose(len(stage.serving) // 3)


def _upgrade(stages: dict[Stage, SimulatedStage]) -> None:
    for stage in stages.values():
        stage.upgrade()


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
    # A quarter at a time, three minutes each.
    "upgrade": Scenario(
        "60,000 requests/s, and every replica is replaced",
        600,
        13,
        seconds=840,
        events=((60, _upgrade),),
    ),
}


def play(name: str) -> Outcome:
    """Simulate the scenario."""
    scenario = SCENARIOS[name]
    traffic = Traffic(
        duration_s=scenario.seconds,
        requests_per_s=scenario.requests_per_s,
        surges=scenario.surges,
        tenants=_TENANTS,
        mix=_MIX,
    )
    embed = stage_spec(production(), "embed", _TIMES)
    rerank = stage_spec(production(), "rerank", _TIMES, replicas=scenario.replicas)
    # What the embedder leaves of the GPUs.
    most = int((GPUS - embed.lowest * embed.gpus) / rerank.gpus)
    stages: dict[Stage, StageSpec] = {
        "embed": embed.model_copy(update={"highest": embed.lowest}),
        "rerank": rerank.model_copy(update={"highest": most}),
    }
    cell = CellSpec(stages=stages, slo_s=1.0)
    policies: dict[Stage, Policy] = {
        stage: TokenPolicy(scaling_rules(production(), stage)) for stage in stages
    }
    return simulate(cell, policies, generate(traffic, seed=7), events=scenario.events)
