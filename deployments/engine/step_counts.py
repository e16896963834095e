"""vLLM's statistics of its steps, summed until they are taken.

Imported late, as all that imports vLLM.
"""

from typing import TYPE_CHECKING, Protocol

from vllm.v1.metrics.loggers import PrometheusStatLogger

from deployments.rows.engine_counts import EngineCounts

if TYPE_CHECKING:
    from vllm.v1.metrics.loggers import StatLoggerManager
    from vllm.v1.metrics.stats import IterationStats, SchedulerStats


class StepCounts(PrometheusStatLogger):
    """A PrometheusStatLogger by name alone: without one vLLM adds its own, which observes a dozen
    histograms for each row, in a registry that nothing of ours reads."""

    def __init__(self, *_: object, **__: object) -> None:
        self._counts = EngineCounts()

    def record(
        self,
        scheduler_stats: "SchedulerStats | None",
        iteration_stats: "IterationStats | None",
        *_: object,
        **__: object,
    ) -> None:
        if scheduler_stats is None:
            return
        prefix = scheduler_stats.prefix_cache_stats
        self._counts += EngineCounts(
            steps=1,
            prompt_tokens=iteration_stats.num_prompt_tokens if iteration_stats else 0,
            prefix_cache_queries=prefix.queries,
            prefix_cache_hits=prefix.hits,
            preemptions=iteration_stats.num_preempted_reqs if iteration_stats else 0,
            running=scheduler_stats.num_running_reqs,
            waiting=scheduler_stats.num_waiting_reqs + scheduler_stats.num_skipped_waiting_reqs,
            kv_cache_usage=scheduler_stats.kv_cache_usage,
        )

    def record_sleep_state(self, *_: object, **__: object) -> None:
        return

    def record_admission_rejection(self, *_: object, **__: object) -> None:
        return

    def log_engine_initialized(self) -> None:
        return

    def take(self) -> EngineCounts:
        """Return what was counted since the last time."""
        taken, self._counts = self._counts, EngineCounts()
        return taken


class CountingEngine(Protocol):
    """vLLM's LLMEngine or AsyncLLM, made with `stat_loggers=[StepCounts]`."""

    logger_manager: "StatLoggerManager | None"


def step_counts(engine: CountingEngine) -> StepCounts:
    """The one that the engine made, and alone in it from now on: where INFO is logged, vLLM adds
    one that writes to the log."""
    manager = engine.logger_manager
    assert manager is not None
    [found] = [one for one in manager.stat_loggers if isinstance(one, StepCounts)]
    manager.stat_loggers = [found]
    return found
