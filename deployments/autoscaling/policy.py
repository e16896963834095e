"""The autoscaling policy: the number of replicas a model stage needs, from its tokens.

A stage with an offered load of R replicas' work gets R + headroom * sqrt(R) replicas: the
square-root staffing rule (Halfin and Whitt, Operations Research 1981), by which a large stage needs
relatively less headroom than a small one. R is the load forecast for the time at which a replica
requested now would serve, plus the work that drains the backlog in time. Work in flight at the
objective (rate times half the objective, by Little's law) is not backlog.

A stage scales up to the smallest target of the last `up_delay_s`, and down to the largest of the
last `down_delay_s`, computed for a load larger by `hysteresis`, so that noise moves neither. Bulk
work counts up to its own budget. Without fresh signals the size stays.

Pure: signals and time are passed in. Knows no Ray.
"""

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from deployments.autoscaling.arrivals import WINDOW_S, Stage
from deployments.autoscaling.signals import StageSignals
from deployments.request.origin import LANES, Lane

# Growth counts from this many standard errors on, and at most up to this factor.
_SIGNIFICANT_ERRORS = 4.0
_MAX_GROWTH = 2.0
_MIN_SAMPLES = 6


class ScalingRules(BaseModel):
    """The rules of one stage; its bounds are Serve's `min_replicas` and `max_replicas`.

    objective_s: how long work may wait.
    replica_tokens_per_s: assumed throughput of a replica, until it is measured.
    start_up_s: time from the request for a replica, and its node, until it serves.
    headroom: factor of the square root in the staffing rule.
    drain_s: time in which a backlog is to be drained.
    trend_s: time over which growth is measured.
    bulk_replicas: replicas that bulk work may ask for, at most.
    idle_s: time without work after which a stage that may scale to zero does.
    stale_after_s: age from which signals are ignored.
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
        # Otherwise arrivals would reduce the backlog by more than they add to the load.
        if self.drain_s < self.objective_s:
            raise ValueError("drain_s must be at least objective_s")
        return self


class StageScaling(ScalingRules):
    """The rules of a deployment that serves `stage`."""

    stage: Stage


class ScalingConfig(BaseModel):
    """The policy's settings; `router` and the keys of `stages` are names of deployments."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    router: str = "Router"
    stages: dict[str, StageScaling] = Field(min_length=1)


def square_root_staffing(work: float, steady: float, headroom: float) -> int:
    """Return the replicas for a load of `work`, plus square-root headroom over its steady part.

    Both are in replicas' work per second.
    """
    return math.ceil(work + headroom * math.sqrt(steady) - 1e-9)


@dataclass(frozen=True, slots=True)
class StageLoad:
    """The load of a stage, measured `age_s` ago.

    `replica_tokens_per_s` is the measured mean, None before the first measurement. `oldest_wait_s`
    is the age of the oldest waiting request outside bulk.
    """

    arriving_tokens_per_s: Mapping[Lane, float]
    queued_tokens: Mapping[Lane, float]
    replica_tokens_per_s: float | None
    oldest_wait_s: float
    age_s: float


def stage_load(
    arrivals: Sequence[Mapping[Lane, float]],
    signals: Sequence[StageSignals],
    age_s: float,
    *,
    routers_heard: float = 1.0,
    replicas_heard: float = 1.0,
) -> StageLoad:
    """Add up the arrivals of each Router, in tokens/s by lane, and the signals of the replicas.

    `routers_heard` and `replicas_heard` are the parts of them that report, in (0, 1]: the others
    are taken to have as much to do.
    """
    measured = [one.tokens_per_s for one in signals if one.tokens_per_s]
    return StageLoad(
        arriving_tokens_per_s={
            lane: sum(one[lane] for one in arrivals) / routers_heard for lane in LANES
        },
        queued_tokens={
            lane: sum(one.queued_tokens[lane] for one in signals) / replicas_heard for lane in LANES
        },
        replica_tokens_per_s=sum(measured) / len(measured) if measured else None,
        oldest_wait_s=max((one.oldest_wait_s for one in signals), default=0.0),
        age_s=age_s,
    )


@dataclass(frozen=True, slots=True)
class StageSize:
    """Replicas that are requested and that serve, and the bounds of the target."""

    target: int
    running: int
    lowest: int
    highest: int

    def bound(self, replicas: int) -> int:
        return max(self.lowest, min(self.highest, replicas))


@dataclass(frozen=True, slots=True)
class _Targets:
    """Targets computed at `at_s`: for scaling up, and for scaling down."""

    at_s: float
    up: int
    down: int


class StageScaler:
    """Decides the size of one stage; keeps the recent targets and rates."""

    def __init__(self, rules: ScalingRules) -> None:
        self._rules = rules
        self._targets: deque[_Targets] = deque()
        self._rates: deque[tuple[float, float]] = deque()

    def decide(self, load: StageLoad | None, size: StageSize, now_s: float) -> int:
        """Return the number of replicas to request, within the bounds.

        Call it at any interval; `now_s` must not go back. Without a `load`, as with a stale one,
        the size stays.
        """
        rules = self._rules
        if load is None or load.age_s > rules.stale_after_s:
            self._targets.clear()
            self._rates.clear()
            return size.bound(size.target)
        self._targets.append(self._compute(load, size, now_s))
        longest_s = max(rules.down_delay_s, rules.idle_s, rules.up_delay_s)
        # One sample from before all windows is kept: it shows that they are complete.
        while len(self._targets) > 1 and self._targets[1].at_s <= now_s - longest_s:
            self._targets.popleft()
        return size.bound(self._delayed(size.target, now_s))

    def _delayed(self, target: int, now_s: float) -> int:
        rules = self._rules
        up = self._targets[-1].up if target == 0 else self._smallest_up(now_s - rules.up_delay_s)
        if up is not None and up > target:
            return up
        down = self._largest_down(now_s - rules.down_delay_s)
        if down == 0 and self._largest_down(now_s - rules.idle_s) != 0:
            down = 1
        return target if down is None else min(target, down)

    def _smallest_up(self, since_s: float) -> int | None:
        recent = self._since(since_s)
        return min(one.up for one in recent) if recent else None

    def _largest_down(self, since_s: float) -> int | None:
        recent = self._since(since_s)
        return max(one.down for one in recent) if recent else None

    def _since(self, since_s: float) -> list[_Targets]:
        """Return the targets from the last one at or before `since_s` on; none without such."""
        recent: list[_Targets] = []
        for one in reversed(self._targets):
            recent.append(one)
            if one.at_s <= since_s:
                return recent
        return []

    def _compute(self, load: StageLoad, size: StageSize, now_s: float) -> _Targets:
        rules = self._rules
        replica = load.replica_tokens_per_s or rules.replica_tokens_per_s
        arriving, queued = load.arriving_tokens_per_s, load.queued_tokens
        urgent = sum(rate for lane, rate in arriving.items() if lane != "bulk")
        bulk = arriving["bulk"] + queued["bulk"] / rules.drain_s
        waiting = sum(tokens for lane, tokens in queued.items() if lane != "bulk")
        backlog = max(0.0, waiting - urgent * rules.objective_s / 2)
        forecast = self._forecast(urgent, now_s)

        def replicas(factor: float) -> int:
            steady = forecast * factor / replica
            work = steady + min(bulk / replica, rules.bulk_replicas)
            drain = backlog / replica / rules.drain_s
            return square_root_staffing(work + drain, steady, rules.headroom)

        # While replicas are replaced, more run than were asked for.
        late = min(size.running, size.target) + 1 if load.oldest_wait_s > rules.objective_s else 0
        # Bulk work may have no replicas of its own, but a stage does not leave in the midst of it.
        least = max(late, 1 if bulk else 0)
        return _Targets(
            now_s, max(replicas(1.0), least), max(replicas(1 + rules.hysteresis), least)
        )

    def _forecast(self, rate: float, now_s: float) -> float:
        """Extrapolate a growing rate to the time at which a replica requested now would serve."""
        if not self._rates or now_s >= self._rates[-1][0] + WINDOW_S:
            # Windows of samples must not overlap, or both would count the same arrivals.
            self._rates.append((now_s, rate))
        while self._rates and self._rates[0][0] < now_s - self._rules.trend_s:
            self._rates.popleft()
        growth = _growth(self._rates) * self._rules.start_up_s
        return min(rate + growth, rate * _MAX_GROWTH)


def _growth(samples: deque[tuple[float, float]]) -> float:
    """Return the slope of the least-squares line, per second; 0 if it falls or may be noise."""
    count = len(samples)
    if count < _MIN_SAMPLES:
        return 0.0
    times, rates = np.array(samples).T
    spread = times - times.mean()
    square = float(spread @ spread)
    if not square:
        return 0.0
    slope = float(spread @ rates) / square
    residuals = rates - rates.mean() - slope * spread
    error = math.sqrt(float(residuals @ residuals) / (count - 2) / square)
    return slope if slope > _SIGNIFICANT_ERRORS * error else 0.0
