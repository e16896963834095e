"""The adapter of the policy to Ray Serve: an application-level autoscaling policy.

Ray 2.60 calls such policies "under development". A profile names it in `autoscaling_policy`, with
the rules as `policy_kwargs`. The rules contain the stages' delays, so Serve's own are 0 in the
profile. A deployment without rules (the Router) is sized by Serve's own policy and delays.

Serve's controller calls it ten times a second; it decides once a second. The only module that
knows AutoscalingContext.
"""

import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

from ray.serve.autoscaling_policy import replica_queue_length_autoscaling_policy
from ray.serve.config import AutoscalingContext

from deployments.autoscaling.arrivals import Stage
from deployments.autoscaling.policy import (
    ScalingConfig,
    StageLoad,
    StageScaler,
    StageScaling,
    StageSize,
    stage_load,
)
from deployments.autoscaling.signals import StageSignals, Stats, arrivals_from_stats
from deployments.metrics.autoscaling import AutoscalingMetrics

_PERIOD_S = 1.0
# The part of replicas that must report for their load to be judged by.
_QUORUM = 0.5

_T = TypeVar("_T")


class TokenScaling:
    """The policy object; Serve calls it with the contexts of all deployments that scale."""

    def __init__(self, **config: Any) -> None:
        self._config = ScalingConfig.model_validate(config)
        self._scalers = {name: StageScaler(rules) for name, rules in self._config.stages.items()}
        self._decided_s: dict[str, float] = {}
        self._metrics = AutoscalingMetrics()

    def __call__(
        self, contexts: Mapping[Any, AutoscalingContext]
    ) -> tuple[dict[Any, float], dict[Any, dict[str, Any]]]:
        by_name = {context.deployment_name: context for context in contexts.values()}
        router = by_name.get(self._config.router)
        targets: dict[Any, float] = {}
        for id, context in contexts.items():
            rules = self._config.stages.get(context.deployment_name)
            if rules is None:
                targets[id], _ = replica_queue_length_autoscaling_policy(context)
            else:
                targets[id] = self._decide(rules, context, router)
        return targets, {}

    def _decide(
        self, rules: StageScaling, context: AutoscalingContext, router: AutoscalingContext | None
    ) -> int:
        name, now_s = context.deployment_name, context.current_time or 0.0
        since_s = now_s - self._decided_s.get(name, -math.inf)
        if 0 <= since_s < _PERIOD_S:
            return context.target_num_replicas
        if since_s < 0:  # the controller's clock was set back
            self._scalers[name] = StageScaler(rules)
        self._decided_s[name] = now_s
        size = StageSize(
            context.target_num_replicas,
            context.current_num_replicas,
            context.capacity_adjusted_min_replicas,
            context.capacity_adjusted_max_replicas,
        )
        reports, arrivals = _Reports(context, now_s), _Reports(router, now_s)
        load = _load(rules.stage, reports, arrivals, rules.stale_after_s)
        self._metrics.bounded(name, size.highest, fresh=load is not None)
        if load is not None:
            self._metrics.told(
                name, load.arriving_tokens_per_s, load.queued_tokens, load.replica_tokens_per_s
            )
        return self._scalers[name].decide(load, size, now_s)


class _Reports:
    """The newest stats of each replica of a deployment, and their age in seconds."""

    def __init__(self, context: AutoscalingContext | None, now_s: float) -> None:
        self._running = context.current_num_replicas if context is not None else 0
        self._stats: dict[Any, Stats] = {}
        self._ages_s: dict[Any, float] = {}
        raw = context.raw_metrics if context is not None else None
        for name, replicas in (raw or {}).items():
            for replica, series in replicas.items():
                if series:
                    self._stats.setdefault(replica, {})[name] = series[-1].value
                    age_s = max(0.0, now_s - series[-1].timestamp)
                    self._ages_s[replica] = max(age_s, self._ages_s.get(replica, 0.0))

    def heard(self, read: Callable[[Stats], _T], within_s: float) -> "_Heard[_T] | None":
        """Return what is reported in time and whole; None if these are less than half.

        One that is stuck is left out: it must not hold up the others. `read` raises KeyError for
        stats that lack something.
        """
        heard: dict[Any, _T] = {}
        for replica, stats in self._stats.items():
            if self._ages_s[replica] <= within_s:
                with suppress(KeyError):  # Serve has not yet collected all of them
                    heard[replica] = read(stats)
        if len(heard) < _QUORUM * self._running:
            return None
        return _Heard(
            [*heard.values()],
            min(1.0, len(heard) / self._running) if self._running else 1.0,
            max((self._ages_s[one] for one in heard), default=0.0),
        )


@dataclass(frozen=True, slots=True)
class _Heard(Generic[_T]):
    """Reports, the part of the running replicas that sent them, and the oldest's age."""

    said: list[_T]
    part: float
    age_s: float


def _load(
    stage: Stage, replicas: _Reports, routers: _Reports, stale_after_s: float
) -> StageLoad | None:
    """None if too few report. A stage without replicas reports nothing: its requests wait in the
    Routers, without which nothing is known."""
    arrivals = routers.heard(partial(arrivals_from_stats, stage), stale_after_s)
    signals = replicas.heard(StageSignals.from_stats, stale_after_s)
    if arrivals is None or signals is None or not arrivals.said:
        return None
    return stage_load(
        arrivals.said,
        signals.said,
        max(arrivals.age_s, signals.age_s),
        routers_heard=arrivals.part,
        replicas_heard=signals.part,
    )
