"""Metrics that replicas, Routers and the policy report."""

from pathlib import Path

import numpy as np
import pytest

from deployments.metrics.batches import BatchMetrics
from deployments.metrics.engines import EngineMetrics
from deployments.metrics.queues import QueueMetrics
from deployments.metrics.router import RouterMetrics
from deployments.metrics.stores import IndexMetrics
from deployments.metrics.tenants import TenantMetrics
from deployments.rows.engine_counts import EngineCounts
from deployments.rows.model_output import ModelOutput
from deployments.rows.token_rows import TokenRows
from tests.unit.autoscaling.test_serve_policy import _policy, _reranker, _router
from tests.unit.metrics.recorded import Recorded, recorded

__all__ = ["recorded"]


def test_a_batchs_fill_is_its_tokens_of_what_it_could_have_held(recorded: Recorded) -> None:
    metrics = BatchMetrics("embed")
    rows = TokenRows.pack([[1] * 30, [1] * 20])
    output = ModelOutput(np.zeros((2, 4), np.float32), np.array([10, 0], np.int32))
    metrics.observe(rows, output, 0.1, 200)
    assert recorded.of("winnow_tokens", stage="embed", source="computed") == 40
    assert recorded.of("winnow_tokens", stage="embed", source="prefix_cache") == 10
    assert recorded.of("winnow_batch_capacity_tokens", stage="embed") == 200
    metrics.observe(rows, output, 0.1, 20)
    assert recorded.of("winnow_batch_capacity_tokens", stage="embed") == 250, "never above 1"


def test_engines_tell_sums_and_the_highest_since_the_last_report(recorded: Recorded) -> None:
    metrics = EngineMetrics("rerank")
    metrics.report()
    assert recorded.of("vllm_num_preemptions", stage="rerank") == pytest.approx(0, abs=1e-6), (
        "a series from the start"
    )
    metrics.add(EngineCounts(3, 600, 600, 200, 1, running=2, waiting=40, kv_cache_usage=0.9))
    metrics.add(EngineCounts(1, 100, 100, 0, 0, running=5, waiting=0, kv_cache_usage=0.1))
    metrics.add(None)
    before = recorded.calls
    assert before == 8, "a batch costs no call of Ray's"
    metrics.report()
    assert recorded.of("vllm_engine_steps", stage="rerank") == pytest.approx(4)
    assert recorded.of("vllm_prompt_tokens", stage="rerank") == pytest.approx(700)
    assert recorded.of("vllm_prefix_cache_queries", stage="rerank") == pytest.approx(700)
    assert recorded.of("vllm_prefix_cache_hits", stage="rerank") == pytest.approx(200)
    assert recorded.of("vllm_num_preemptions", stage="rerank") == pytest.approx(1)
    assert recorded.of("vllm_num_requests_running", stage="rerank") == 5
    assert recorded.of("vllm_num_requests_waiting", stage="rerank") == 40
    assert recorded.of("vllm_kv_cache_usage_perc", stage="rerank") == 0.9
    metrics.report()
    assert recorded.of("vllm_engine_steps", stage="rerank") == pytest.approx(4)
    assert recorded.of("vllm_num_requests_waiting", stage="rerank") == 0


def test_a_queue_tells_its_tokens_by_lane_its_age_and_its_waits(recorded: Recorded) -> None:
    metrics = QueueMetrics("rerank")
    metrics.waited("bulk", 0.3)
    metrics.report(1.5, {"interactive": 7.0, "default": 0.0, "bulk": 100.0})
    assert recorded.of("winnow_queued_tokens", stage="rerank", lane="bulk") == 100
    assert recorded.of("winnow_queued_tokens", stage="rerank", lane="default") == 0
    assert recorded.of("winnow_queue_oldest_seconds", stage="rerank") == 1.5
    assert recorded.of("winnow_queue_seconds_sum", stage="rerank", lane="bulk") == 0.3


def test_a_router_reports_answers_and_stages(recorded: Recorded) -> None:
    metrics = RouterMetrics(TenantMetrics())
    metrics.answered("/v1/search", 200)
    metrics.answered("", 404)
    metrics.spent("embed", 0.02)
    assert recorded.calls == 0, "a request costs no call of Ray's"
    metrics.report()
    metrics.ready({"embed": True, "rerank": False})
    assert recorded.of("winnow_requests", route="/v1/search", status="200") == 1
    assert recorded.of("winnow_requests", route="", status="404") == 1
    assert recorded.of("winnow_stage_seconds_sum", stage="embed") == 0.02
    assert recorded.of("winnow_stage_ready", stage="rerank") == 0


def test_the_disk_of_an_index(recorded: Recorded, tmp_path: Path) -> None:
    IndexMetrics(tmp_path / "not" / "yet").report()
    free, size = recorded.of("winnow_index_free_bytes"), recorded.of("winnow_index_capacity_bytes")
    assert free is not None
    assert size is not None
    assert 0 < free < size


def test_the_policy_reports_what_it_was_told_and_its_bound(recorded: Recorded) -> None:
    policy, now_s = _policy(), 1_000.0
    policy(dict([_router(2_000, now_s), _reranker(now_s, tokens_per_s=4_000)]))
    told = "winnow_autoscaling_arriving_tokens_per_second"
    assert recorded.of(told, deployment="Reranker", lane="interactive") == 2_000
    measured = "winnow_autoscaling_replica_tokens_per_second"
    assert recorded.of(measured, deployment="Reranker") == 4_000
    assert recorded.of("winnow_autoscaling_max_replicas", deployment="Reranker") == 50
    assert recorded.of("winnow_autoscaling_signals_fresh", deployment="Reranker") == 1
    policy(dict([_router(2_000, now_s + 90, age_s=60), _reranker(now_s + 90)]))
    assert recorded.of("winnow_autoscaling_signals_fresh", deployment="Reranker") == 0
