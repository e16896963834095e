"""Loads in turn, each kept up until the cluster has grown or shrunk to it; all is written down."""

import asyncio
import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import httpx

from loadtest.nodes.load import TENANT, requests_at
from loadtest.nodes.stand import Size, Stand
from loadtest.paced import TOKENS_PER_S
from loadtest.run.open_loop import OpenLoop, Outcome
from loadtest.scaled import Stage

_POLL_S = 1.0
_ANSWER_S = 120.0  # longer than the service may take


@dataclass(frozen=True, slots=True)
class Step:
    """`load` is in replicas' worth of work; `nodes` is what each stage must then come to have, a
    replica on every one. It goes on for `after_s` once they have."""

    load: Mapping[Stage, float]
    nodes: Mapping[Stage, int]
    after_s: float


@dataclass(frozen=True, slots=True)
class Played:
    """When a step began, when all nodes were there or gone, and when it ended (monotonic)."""

    step: Step
    began_s: float
    reached_s: float
    ended_s: float


@dataclass(frozen=True, slots=True)
class Moment:
    at_s: float
    sizes: Mapping[Stage, Size]


@dataclass(frozen=True, slots=True)
class Recording:
    steps: list[Played]
    moments: list[Moment]
    sent: list[Outcome]

    def during(self, played: Played) -> list[Moment]:
        return [one for one in self.moments if played.began_s <= one.at_s <= played.ended_s]

    def answered(self, stage: Stage, from_s: float, to_s: float) -> list[Outcome]:
        """Those whose answer came then."""
        return [one for one in self.sent if one.route == stage and from_s <= one.ended_s < to_s]


async def play(stand: Stand, steps: Sequence[Step], patience_s: float) -> Recording:
    """TimeoutError if a step's nodes are not as they must be within `patience_s`."""
    tokens_per_s = _tokens(steps[0])
    moments: list[Moment] = []
    played: list[Played] = []
    keys = {TENANT: stand.state.api_key()}
    async with OpenLoop(stand.running.url, keys, patience_s=_ANSWER_S) as loop:
        async with loop.sending(requests_at(tokens_per_s)):
            for step in steps:
                tokens_per_s.update(_tokens(step))
                played.append(await _play(stand, step, moments, patience_s))
        return Recording(played, moments, loop.outcomes)


async def _play(stand: Stand, step: Step, moments: list[Moment], patience_s: float) -> Played:
    began_s = time.monotonic()
    while not _is_reached(step, moments, began_s):
        if time.monotonic() > began_s + patience_s:
            raise TimeoutError(f"{step} not reached: {moments[-1:]}")
        await _look(stand, moments)
    reached_s = moments[-1].at_s
    while time.monotonic() < reached_s + step.after_s:
        await _look(stand, moments)
    return Played(step, began_s, reached_s, time.monotonic())


def _tokens(step: Step) -> dict[Stage, float]:
    return {stage: load * TOKENS_PER_S for stage, load in step.load.items()}


def _is_reached(step: Step, moments: Sequence[Moment], began_s: float) -> bool:
    if not moments or moments[-1].at_s < began_s:
        return False
    sizes = moments[-1].sizes
    return all(
        (sizes[stage].nodes, sizes[stage].replicas) == (nodes, nodes)
        for stage, nodes in step.nodes.items()
    )


async def _look(stand: Stand, moments: list[Moment]) -> None:
    """After a pause; nothing if a busy dashboard does not answer."""
    await asyncio.sleep(_POLL_S)
    with contextlib.suppress(httpx.HTTPError):
        moments.append(Moment(time.monotonic(), await asyncio.to_thread(stand.look)))
