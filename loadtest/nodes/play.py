"""Loads one after another, each kept up until the cluster has grown or shrunk to it.

Records sizes and answers; draws no conclusion from them.
"""

import asyncio
import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import httpx

from cluster.stages import ModelStage
from loadtest.nodes.cluster import AutoscaledCluster, StageSize
from loadtest.nodes.load import TENANT, requests_at
from loadtest.paced import TOKENS_PER_S
from loadtest.run.open_loop import OpenLoop, Outcome

_POLL_S = 1.0
_ANSWER_S = 120.0  # longer than the service may take


@dataclass(frozen=True, slots=True)
class Step:
    """A load, and the size that each stage must reach under it.

    `load` is in multiples of what one replica does; `nodes` must each hold one replica. The load
    goes on for `after_s` once the sizes are reached.
    """

    load: Mapping[ModelStage, float]
    nodes: Mapping[ModelStage, int]
    after_s: float


@dataclass(frozen=True, slots=True)
class Played:
    """A finished step: when it began, reached its sizes, and ended (time.monotonic)."""

    step: Step
    began_s: float
    reached_s: float
    ended_s: float


@dataclass(frozen=True, slots=True)
class Moment:
    """The size of each stage at a time (time.monotonic)."""

    at_s: float
    sizes: Mapping[ModelStage, StageSize]


@dataclass(frozen=True, slots=True)
class Recording:
    """The finished steps, the sizes seen, and the outcomes of all requests."""

    steps: list[Played]
    moments: list[Moment]
    sent: list[Outcome]

    def during(self, played: Played) -> list[Moment]:
        return [one for one in self.moments if played.began_s <= one.at_s <= played.ended_s]

    def answered(self, stage: ModelStage, from_s: float, to_s: float) -> list[Outcome]:
        """Outcomes of a stage's requests that ended in [`from_s`, `to_s`)."""
        return [one for one in self.sent if one.route == stage and from_s <= one.ended_s < to_s]


async def play(cluster: AutoscaledCluster, steps: Sequence[Step], patience_s: float) -> Recording:
    """Run the steps. Raises TimeoutError if one does not reach its sizes within `patience_s`."""
    tokens_per_s = _tokens(steps[0])
    moments: list[Moment] = []
    played: list[Played] = []
    keys = {TENANT: cluster.state.api_key()}
    async with OpenLoop(cluster.running.url, keys, patience_s=_ANSWER_S) as loop:
        async with loop.sending(requests_at(tokens_per_s)):
            for step in steps:
                tokens_per_s.update(_tokens(step))
                played.append(await _play(cluster, step, moments, patience_s))
        return Recording(played, moments, loop.outcomes)


async def _play(
    cluster: AutoscaledCluster, step: Step, moments: list[Moment], patience_s: float
) -> Played:
    began_s = time.monotonic()
    while not _is_reached(step, moments, began_s):
        if time.monotonic() > began_s + patience_s:
            raise TimeoutError(f"{step} not reached: {moments[-1:]}")
        await _look(cluster, moments)
    reached_s = moments[-1].at_s
    while time.monotonic() < reached_s + step.after_s:
        await _look(cluster, moments)
    return Played(step, began_s, reached_s, time.monotonic())


def _tokens(step: Step) -> dict[ModelStage, float]:
    return {stage: load * TOKENS_PER_S for stage, load in step.load.items()}


def _is_reached(step: Step, moments: Sequence[Moment], began_s: float) -> bool:
    if not moments or moments[-1].at_s < began_s:
        return False
    sizes = moments[-1].sizes
    return all(
        (sizes[stage].nodes, sizes[stage].replicas) == (nodes, nodes)
        for stage, nodes in step.nodes.items()
    )


async def _look(cluster: AutoscaledCluster, moments: list[Moment]) -> None:
    """Record the sizes after a pause; none are recorded if a busy dashboard does not answer."""
    await asyncio.sleep(_POLL_S)
    with contextlib.suppress(httpx.HTTPError):
        moments.append(Moment(time.monotonic(), await asyncio.to_thread(cluster.sizes)))
