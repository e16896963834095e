"""The Serve adapter: contexts reach the policy, and its decision reaches Serve."""

from typing import Any

import pytest
from ray.serve._private.common import DeploymentID, ReplicaID, TimeStampedValue
from ray.serve.config import AutoscalingConfig, AutoscalingContext

from deployments.autoscaling.serve_policy import TokenScaling
from deployments.autoscaling.signals import StageSignals, Stats, arrivals_to_stats
from deployments.request.origin import LANES, Lane

_NONE: dict[Lane, float] = dict.fromkeys(LANES, 0.0)
_BEGAN_S = 1_000.0


def _context(
    name: str, now_s: float, stats: list[Stats], age_s: float = 0.0, **fields: Any
) -> tuple[DeploymentID, AutoscalingContext]:
    id = DeploymentID(name, "winnow")
    replicas = [ReplicaID(f"{name}-{number}", id) for number in range(len(stats))]
    raw: dict[str, dict[ReplicaID, list[TimeStampedValue]]] = {}
    for replica, one in zip(replicas, stats, strict=True):
        for key, value in one.items():
            series = [
                TimeStampedValue(now_s - age_s - 5, -1.0),
                TimeStampedValue(now_s - age_s, value),
            ]
            raw.setdefault(key, {})[replica] = series
    values: dict[str, Any] = {
        "deployment_id": id,
        "deployment_name": name,
        "app_name": "winnow",
        "current_num_replicas": len(stats),
        "target_num_replicas": len(stats),
        "running_replicas": replicas,
        "total_num_requests": 0.0,
        "total_queued_requests": 0.0,
        "aggregated_metrics": None,
        "raw_metrics": raw,
        "capacity_adjusted_min_replicas": 1,
        "capacity_adjusted_max_replicas": 50,
        "policy_state": {},
        "last_scale_up_time": None,
        "last_scale_down_time": None,
        "current_time": now_s,
        "config": AutoscalingConfig(target_ongoing_requests=10, min_replicas=1, max_replicas=50),
    }
    return id, AutoscalingContext(**(values | fields))


def _router(rate: float, now_s: float, count: int = 1, **fields: Any) -> Any:
    stats = arrivals_to_stats("embed", _NONE) | arrivals_to_stats(
        "rerank", _NONE | {"interactive": rate}
    )
    return _context("Router", now_s, [stats] * count, **fields)


def _reranker(now_s: float, tokens_per_s: float = 0.0, **fields: Any) -> Any:
    return _context(
        "Reranker", now_s, [StageSignals(_NONE, 0.0, tokens_per_s).to_stats()], **fields
    )


def _policy(**rules: Any) -> TokenScaling:
    kwargs = {"stage": "rerank", "replica_tokens_per_s": 1000, "up_delay_s": 0} | rules
    return TokenScaling(stages={"Reranker": kwargs})


def _wanted(policy: TokenScaling, *contexts: Any) -> dict[str, float]:
    wanted, _ = policy(dict(contexts))
    return {id.name: replicas for id, replicas in wanted.items()}


def test_arrivals_at_all_routers_size_the_stage() -> None:
    contexts = (_router(2000, _BEGAN_S, count=2), _reranker(_BEGAN_S))
    assert _wanted(_policy(), *contexts)["Reranker"] == 4 + 2


def test_measured_throughput_replaces_the_assumed_one() -> None:
    contexts = (_router(4000, _BEGAN_S), _reranker(_BEGAN_S, tokens_per_s=4000))
    assert _wanted(_policy(), *contexts)["Reranker"] == 2


def test_a_deployment_without_rules_is_sized_by_serves_own_policy() -> None:
    contexts = (_router(0, _BEGAN_S, total_num_requests=45.0), _reranker(_BEGAN_S))
    assert _wanted(_policy(), *contexts)["Router"] == pytest.approx(4.5)


@pytest.mark.parametrize(
    "contexts",
    [
        (_router(9000, _BEGAN_S), _reranker(_BEGAN_S, age_s=60)),
        (_router(9000, _BEGAN_S, age_s=60), _reranker(_BEGAN_S)),
        (_router(9000, _BEGAN_S), _reranker(_BEGAN_S, raw_metrics={})),
        (_router(9000, _BEGAN_S, raw_metrics={}), _reranker(_BEGAN_S)),
        (_reranker(_BEGAN_S),),
        (
            _router(9000, _BEGAN_S),
            _reranker(
                _BEGAN_S, raw_metrics={"tokens_per_s": {1: [TimeStampedValue(_BEGAN_S, 9.0)]}}
            ),
        ),
    ],
    ids=["stale", "stale router", "silent", "silent router", "no router", "a part"],
)
def test_without_fresh_signals_the_size_stays(contexts: Any) -> None:
    assert _wanted(_policy(), *contexts)["Reranker"] == 1


@pytest.mark.parametrize(("stuck", "wanted"), [(0, 5 + 3), (1, 5 + 3), (2, 1), (3, 1)])
def test_a_router_that_is_stuck_is_left_out_while_half_of_them_report(
    stuck: int, wanted: int
) -> None:
    """Three Routers with the same load; those that are stuck were last heard of a minute ago."""
    id, context = _router(5000 / 3, _BEGAN_S, count=3)
    for series in context.raw_metrics.values():
        for replica in list(series)[:stuck]:
            series[replica] = [TimeStampedValue(_BEGAN_S - 60, 9e9)]
    assert _wanted(_policy(), (id, context), _reranker(_BEGAN_S))["Reranker"] == wanted


def test_replicas_that_are_not_heard_of_are_taken_to_have_as_much_to_do() -> None:
    queued = StageSignals(_NONE | {"interactive": 90_000.0}, 0.0, 0.0).to_stats()
    whole = _context("Reranker", _BEGAN_S, [queued] * 2)
    assert whole[1].raw_metrics is not None
    half = _context("Reranker", _BEGAN_S, [queued], current_num_replicas=2)
    router = _router(0, _BEGAN_S)
    assert _wanted(_policy(), router, half) == _wanted(_policy(), router, whole)


def test_a_stage_at_zero_comes_back_by_the_routers_signals_alone() -> None:
    asleep = _context("Reranker", _BEGAN_S, [], capacity_adjusted_min_replicas=0)
    assert _wanted(_policy(), _router(10, _BEGAN_S), asleep)["Reranker"] == 1


def test_the_policy_decides_once_a_second() -> None:
    policy = _policy()
    first = _wanted(policy, _router(0, _BEGAN_S), _reranker(_BEGAN_S))
    soon = _wanted(policy, _router(4000, _BEGAN_S + 0.5), _reranker(_BEGAN_S + 0.5))
    later = _wanted(policy, _router(4000, _BEGAN_S + 1), _reranker(_BEGAN_S + 1))
    assert [one["Reranker"] for one in (first, soon, later)] == [1, 1, 6]


def test_a_clock_that_was_set_back_stops_nothing() -> None:
    policy = _policy()
    _wanted(policy, _router(0, _BEGAN_S), _reranker(_BEGAN_S))
    back_s = _BEGAN_S - 3_600
    for at_s in (back_s, back_s + 1):
        wanted = _wanted(policy, _router(4000, at_s), _reranker(at_s))
    assert wanted["Reranker"] == 6
