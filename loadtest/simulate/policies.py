"""Autoscaling policies: Winnow's, Ray Serve's default, a KEDA queue rule, foresight, and spares.

Each maps an observation of a stage to its number of replicas. Knows no simulator.
"""

import math
from collections import deque
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from ray.serve.autoscaling_policy import _apply_delay_logic, _apply_scaling_factors
from ray.serve.config import AutoscalingConfig

from deployments.autoscaling.policy import ScalingRules, StageLoad, StageScaler, StageSize


@dataclass(frozen=True, slots=True)
class Observation:
    """A stage as a policy sees it: Winnow's signals, its size, and its calls, queued or running."""

    now_s: float
    load: StageLoad | None
    size: StageSize
    calls: int


class Policy(Protocol):
    """An autoscaling policy: decides a stage's number of replicas."""

    def decide(self, seen: Observation) -> int: ...


class TokenPolicy:
    """Winnow's policy, by the service's own code."""

    def __init__(self, rules: ScalingRules) -> None:
        self._scaler = StageScaler(rules)

    def decide(self, seen: Observation) -> int:
        return self._scaler.decide(seen.load, seen.size, seen.now_s)


class FixedPolicy:
    """A constant number of replicas."""

    def decide(self, seen: Observation) -> int:
        return seen.size.target


class RayDefaultPolicy:
    """Ray Serve's default: the average of calls over `target_ongoing_requests`.

    Factors and delays are applied by Ray's own functions.
    """

    def __init__(self, config: AutoscalingConfig) -> None:
        self._config = config
        self._calls: deque[tuple[float, int]] = deque()
        self._state: dict[str, object] = {}

    def decide(self, seen: Observation) -> int:
        self._calls.append((seen.now_s, seen.calls))
        while self._calls[0][0] < seen.now_s - self._config.look_back_period_s:
            self._calls.popleft()
        calls = sum(count for _, count in self._calls) / len(self._calls)
        wanted = calls / self._config.get_target_ongoing_requests()
        scaled = _apply_scaling_factors(wanted, seen.size.running, self._config)
        target, self._state = _apply_delay_logic(
            max(0, scaled), seen.size.target, self._config, self._state, _now=seen.now_s
        )
        return seen.size.bound(target)


@dataclass(frozen=True, slots=True)
class KedaRule:
    """A ScaledObject on the queue's length, of `threshold` calls a replica (AverageValue).

    The rest are defaults of KEDA and the HorizontalPodAutoscaler: evaluation every 15 s, a
    tolerance of 10%, at most double or 4 more in one step, and down to the highest target of the
    last 300 s.
    """

    threshold: float
    period_s: float = 15.0
    tolerance: float = 0.1
    down_window_s: float = 300.0


class KedaPolicy:
    """The KEDA rule on calls, queued or running, as a gateway counts them.

    On queued calls alone it would shrink a stage as soon as that is large enough to have none.
    """

    def __init__(self, rule: KedaRule) -> None:
        self._rule = rule
        self._due_s = 0.0
        self._wanted: deque[tuple[float, int]] = deque()

    def decide(self, seen: Observation) -> int:
        rule, target = self._rule, seen.size.target
        if seen.now_s < self._due_s:
            return target
        self._due_s = seen.now_s + rule.period_s
        if not self._wanted:
            self._wanted.append((seen.now_s, target))  # as the HorizontalPodAutoscaler begins
        ratio = seen.calls / (rule.threshold * max(target, 1))
        wanted = target if abs(ratio - 1) <= rule.tolerance else math.ceil(ratio * max(target, 1))
        wanted = min(wanted, max(2 * target, target + 4))
        self._wanted.append((seen.now_s, wanted))
        while self._wanted[0][0] < seen.now_s - rule.down_window_s:
            self._wanted.popleft()
        settled = wanted if wanted > target else min(target, max(n for _, n in self._wanted))
        return seen.size.bound(settled)


class ForesightPolicy:
    """A policy that knows the trace: the price of what is needed at that load of a replica.

    Asks for each replica just in time, and keeps it if it is needed again sooner than a new one
    could start. `need` is the replicas needed in each `bin_s`, int64 [bins]. With `unforeseen` it
    knows nothing of a surge before that begins, and all of it from then on: what is late at that
    size with full knowledge of all but surges. That bounds no policy that has more replicas.
    """

    def __init__(
        self,
        need: NDArray[np.int64],
        bin_s: float,
        start_up_s: float,
        unforeseen: "Unforeseen | None" = None,
    ) -> None:
        ahead = math.ceil(start_up_s / bin_s) + 1
        windows = _windows(need, ahead)
        if unforeseen is not None:
            now = np.arange(len(need))[:, None]
            is_known = _windows(unforeseen.begins, ahead) <= now
            windows = np.where(is_known, windows, _windows(unforeseen.need, ahead))
        self._targets = windows.max(axis=1)
        self._bin_s = bin_s

    def decide(self, seen: Observation) -> int:
        now = min(int(seen.now_s / self._bin_s), len(self._targets) - 1)
        return seen.size.bound(int(self._targets[now]))


@dataclass(frozen=True, slots=True)
class Unforeseen:
    """Surges that nobody foresees. For each bin, int64 [bins]: in which bin the surge began that is
    on then (0: none is), and the replicas that would be needed without surges."""

    begins: NDArray[np.int64]
    need: NDArray[np.int64]


def _windows(values: NDArray[np.int64], ahead: int) -> NDArray[np.int64]:
    """Each bin's value and those of the `ahead` next bins, int64 [bins, ahead + 1]."""
    padded = np.concatenate([values, np.full(ahead, values[-1])])
    return np.lib.stride_tricks.sliding_window_view(padded, ahead + 1)


class SparePolicy:
    """Another policy's number of replicas, and `spare` more."""

    def __init__(self, policy: Policy, spare: int) -> None:
        self._policy = policy
        self._spare = spare

    def decide(self, seen: Observation) -> int:
        size = seen.size
        without = StageSize(
            max(0, size.target - self._spare),
            max(0, size.running - self._spare),
            size.lowest,
            size.highest,
        )
        return size.bound(self._policy.decide(replace(seen, size=without)) + self._spare)
