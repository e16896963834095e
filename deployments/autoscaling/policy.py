"""How many replicas a model stage needs, from the tokens that arrive and wait.

A stage that is given R replicas' worth of work is sized R + headroom * sqrt(R): the square-root
staffing rule (Halfin and Whitt, Operations Research 1981), by which a large stage needs relatively
less to spare than a small one. R is what is foreseen for the time when a replica asked for now
would serve. To it comes what drains the backlog in time; work that is merely on its way (rate times
half the objective, Little's law) is none.

The size rises to the least that was asked for throughout `up_delay_s`, and falls to the most that
was asked for in `down_delay_s` had the load been larger by `hysteresis`: noise moves neither. Bulk
work counts up to its own budget. Without fresh signals the size stays.

Pure: signals and time are given. Knows no Ray.
"""

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from deployments.autoscaling.arrivals import WINDOW_S, Stage
from deployments.autoscaling.signals import StageSignals, Stats, arrivals_from_stats
from deployments.request.origin import LANES, Lane

# Growth is believed when it is this many times its standard error, and a factor of this at most.
_SIGNIFICANT = 4.0
_MOST_GROWTH = 2.0
_FEWEST_SAMPLES = 6


class ScalingRules(BaseModel):
    """Of one stage; the bounds are Serve's `min_replicas` and `max_replicas`.

    `objective_s` is how long work may wait here. A replica does `replica_tokens_per_s` until it was
    measured, and serves `start_up_s` after it was asked for, its node included. A backlog is to be
    gone in `drain_s`. Bulk work may ask for `bulk_replicas` of the size. A stage that may scale to
    zero does so after `idle_s` without work. Growth is read off the last `trend_s`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    objective_s: float = Field(default=1.0, gt=0)
    replica_tokens_per_s: float = Field(gt=0)
    start_up_s: float = Field(default=120, ge=0)
    headroom: float = Field(default=1.0, ge=0)
    drain_s: float = Field(default=30, gt=0)
    up_delay_s: float = Field(default=5, ge=0)
    down_delay_s: float = Field(default=300, ge=0)
    hysteresis: float = Field(default=0.1, ge=0)
    trend_s: float = Field(default=120, ge=0)
    bulk_replicas: float = Field(default=0, ge=0)
    idle_s: float = Field(default=900, ge=0)
    stale_after_s: float = Field(default=15, gt=0)

    @model_validator(mode="after")
    def _drains_no_faster_than_the_objective(self) -> Self:
        # Else more arrivals would explain away more of the backlog than they add to the load.
        if self.drain_s < self.objective_s:
            raise ValueError("drain_s must be at least objective_s")
        return self


class StageScaling(ScalingRules):
    """`stage` is what the Router calls it."""

    stage: Stage


class ScalingConfig(BaseModel):
    """`router` and the keys of `stages` name deployments."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    router: str = "Router"
    stages: dict[str, StageScaling] = Field(min_length=1)


def square_root_staffing(work: float, lasting: float, headroom: float) -> int:
    """Replicas for `work` replicas' worth of it, with to spare for the `lasting` part."""
    return math.ceil(work + headroom * math.sqrt(lasting) - 1e-9)


@dataclass(frozen=True, slots=True)
class StageLoad:
    """What was known of a stage `age_s` ago.

    Tokens/s that arrive and tokens that wait, by lane; what one replica was measured to do (None:
    nothing yet); how long the oldest request outside bulk has waited.
    """

    arriving_tokens_per_s: Mapping[Lane, float]
    queued_tokens: Mapping[Lane, float]
    replica_tokens_per_s: float | None
    oldest_wait_s: float
    age_s: float


def stage_load(
    stage: Stage, routers: Sequence[Stats], replicas: Sequence[Stats], age_s: float
) -> StageLoad:
    """What all of them report together; KeyError when one says only a part."""
    arrivals = [arrivals_from_stats(stage, stats) for stats in routers]
    signals = [StageSignals.from_stats(stats) for stats in replicas]
    measured = [one.tokens_per_s for one in signals if one.tokens_per_s]
    return StageLoad(
        arriving_tokens_per_s={lane: sum(one[lane] for one in arrivals) for lane in LANES},
        queued_tokens={lane: sum(one.queued_tokens[lane] for one in signals) for lane in LANES},
        replica_tokens_per_s=sum(measured) / len(measured) if measured else None,
        oldest_wait_s=max((one.oldest_wait_s for one in signals), default=0.0),
        age_s=age_s,
    )


@dataclass(frozen=True, slots=True)
class StageSize:
    """Replicas: asked for, serving, and the bounds of what may be asked for."""

    target: int
    running: int
    lowest: int
    highest: int

    def bound(self, replicas: int) -> int:
        return max(self.lowest, min(self.highest, replicas))


@dataclass(frozen=True, slots=True)
class _Wanted:
    """At time `at_s`: to rise to, and to fall to."""

    at_s: float
    up: int
    down: int


class StageScaler:
    """`decide` at any pace; remembers what was asked for of late."""

    def __init__(self, rules: ScalingRules) -> None:
        self._rules = rules
        self._wanted: deque[_Wanted] = deque()
        self._rates: deque[tuple[float, float]] = deque()

    def decide(self, load: StageLoad | None, size: StageSize, now_s: float) -> int:
        """Replicas to ask for, within the bounds; no `load` is as a stale one. `now_s` never goes
        back."""
        rules = self._rules
        if load is None or load.age_s > rules.stale_after_s:
            self._wanted.clear()
            self._rates.clear()
            return size.bound(size.target)
        self._wanted.append(self._want(load, size, now_s))
        longest_s = max(rules.down_delay_s, rules.idle_s, rules.up_delay_s)
        # One sample older than all windows shows that they are filled.
        while len(self._wanted) > 1 and self._wanted[1].at_s <= now_s - longest_s:
            self._wanted.popleft()
        return size.bound(self._settle(size.target, now_s))

    def _settle(self, target: int, now_s: float) -> int:
        rules = self._rules
        up = self._wanted[-1].up if target == 0 else self._least_up(now_s - rules.up_delay_s)
        if up is not None and up > target:
            return up
        down = self._most_down(now_s - rules.down_delay_s)
        if down == 0 and self._most_down(now_s - rules.idle_s) != 0:
            down = 1
        return target if down is None else min(target, down)

    def _least_up(self, since_s: float) -> int | None:
        recent = self._since(since_s)
        return min(one.up for one in recent) if recent else None

    def _most_down(self, since_s: float) -> int | None:
        recent = self._since(since_s)
        return max(one.down for one in recent) if recent else None

    def _since(self, since_s: float) -> list[_Wanted]:
        """From the last sample at or before that time on; none if there is no such sample."""
        recent: list[_Wanted] = []
        for one in reversed(self._wanted):
            recent.append(one)
            if one.at_s <= since_s:
                return recent
        return []

    def _want(self, load: StageLoad, size: StageSize, now_s: float) -> _Wanted:
        rules = self._rules
        replica = load.replica_tokens_per_s or rules.replica_tokens_per_s
        arriving, queued = load.arriving_tokens_per_s, load.queued_tokens
        urgent = sum(rate for lane, rate in arriving.items() if lane != "bulk")
        bulk = arriving["bulk"] + queued["bulk"] / rules.drain_s
        waiting = sum(tokens for lane, tokens in queued.items() if lane != "bulk")
        backlog = max(0.0, waiting - urgent * rules.objective_s / 2)
        foreseen = self._foresee(urgent, now_s)

        def replicas(more: float) -> int:
            # In replicas' worth of work a second.
            lasting = foreseen * more / replica
            work = lasting + min(bulk / replica, rules.bulk_replicas)
            drain = backlog / replica / rules.drain_s
            return square_root_staffing(work + drain, lasting, rules.headroom)

        late = size.running + 1 if load.oldest_wait_s > rules.objective_s else 0
        return _Wanted(now_s, max(replicas(1.0), late), max(replicas(1 + rules.hysteresis), late))

    def _foresee(self, rate: float, now_s: float) -> float:
        """The rate when a replica asked for now would serve, if it has been growing."""
        if not self._rates or now_s >= self._rates[-1][0] + WINDOW_S:
            # Rates nearer to one another than they are long would repeat the same arrivals.
            self._rates.append((now_s, rate))
        while self._rates and self._rates[0][0] < now_s - self._rules.trend_s:
            self._rates.popleft()
        growth = _growth(self._rates) * self._rules.start_up_s
        return min(rate + growth, rate * _MOST_GROWTH)


def _growth(samples: deque[tuple[float, float]]) -> float:
    """The slope of the least-squares line, units a second; 0 if it falls or may be noise."""
    count = len(samples)
    if count < _FEWEST_SAMPLES:
        return 0.0
    times, rates = np.array(samples).T
    spread = times - times.mean()
    square = float(spread @ spread)
    if not square:
        return 0.0
    slope = float(spread @ rates) / square
    left = rates - rates.mean() - slope * spread
    error = math.sqrt(float(left @ left) / (count - 2) / square)
    return slope if slope > _SIGNIFICANT * error else 0.0
