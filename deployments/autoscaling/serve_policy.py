"""The adapter of the policy to Ray Serve: an application-level autoscaling policy.

Ray 2.60 calls such policies "under development". A profile names it in `autoscaling_policy`, with
the rules as `policy_kwargs`. The rules contain the stages' delays, so Serve's own are 0 in the
profile. A deployment without rules (the Router) is sized by Serve's own policy and delays.

Serve's controller calls it ten times a second; it decides once a second. The only module that
knows AutoscalingContext.
"""

import math
from collections.abc import Mapping
from typing import Any

from ray.serve.autoscaling_policy import replica_queue_length_autoscaling_policy
from ray.serve.config import AutoscalingContext

from deployments.autoscaling.arrivals import Stage
from deployments.autoscaling.policy import (
    ScalingConfig,
    StageLoad,
    StageScaler,
    StageSize,
    stage_load,
)
from deployments.autoscaling.signals import Stats

_PERIOD_S = 1.0


class TokenScaling:
    """The policy object; Serve calls it with the contexts of all deployments that scale."""

    def __init__(self, **config: Any) -> None:
        self._config = ScalingConfig.model_validate(config)
        self._scalers = {name: StageScaler(rules) for name, rules in self._config.stages.items()}
        self._decided_s: dict[str, float] = {}

    def __call__(
        self, contexts: Mapping[Any, AutoscalingContext]
    ) -> tuple[dict[Any, float], dict[Any, dict[str, Any]]]:
        by_name = {context.deployment_name: context for context in contexts.values()}
        arrivals = _Reports(by_name.get(self._config.router))
        targets: dict[Any, float] = {}
        for id, context in contexts.items():
            rules = self._config.stages.get(context.deployment_name)
            if rules is None:
                targets[id], _ = replica_queue_length_autoscaling_policy(context)
            else:
                targets[id] = self._decide(rules.stage, context, arrivals)
        return targets, {}

    def _decide(self, stage: Stage, context: AutoscalingContext, arrivals: "_Reports") -> int:
        name, now_s = context.deployment_name, context.current_time or 0.0
        if now_s - self._decided_s.get(name, -math.inf) < _PERIOD_S:
            return context.target_num_replicas
        self._decided_s[name] = now_s
        size = StageSize(
            context.target_num_replicas,
            context.current_num_replicas,
            context.capacity_adjusted_min_replicas,
            context.capacity_adjusted_max_replicas,
        )
        load = _load(stage, context, arrivals, now_s)
        return self._scalers[name].decide(load, size, now_s)


class _Reports:
    """The newest stats of each running replica, and the time of the oldest of them."""

    def __init__(self, context: AutoscalingContext | None) -> None:
        self.stats: dict[Any, Stats] = {}
        self.at_s = math.inf
        raw = context.raw_metrics if context is not None else None
        for name, replicas in (raw or {}).items():
            for replica, series in replicas.items():
                if series:
                    self.stats.setdefault(replica, {})[name] = series[-1].value
                    self.at_s = min(self.at_s, series[-1].timestamp)

    def age_s(self, now_s: float) -> float:
        return max(0.0, now_s - self.at_s) if self.stats else math.inf


def _load(
    stage: Stage, context: AutoscalingContext, routers: _Reports, now_s: float
) -> StageLoad | None:
    replicas = _Reports(context)
    # A stage without replicas reports nothing; its requests wait in the Routers.
    age_s = replicas.age_s(now_s) if context.current_num_replicas else 0.0
    try:
        return stage_load(
            stage,
            list(routers.stats.values()),
            list(replicas.stats.values()),
            max(age_s, routers.age_s(now_s)),
        )
    except KeyError:  # Serve has not yet collected all of them
        return None
