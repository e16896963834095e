"""vLLM's statistics go to what we count with alone."""

import logging

import pytest
from vllm.config import VllmConfig
from vllm.v1.metrics.loggers import StatLoggerManager

from deployments.engine.step_counts import StepCounts, step_counts


class Engine:
    logger_manager: StatLoggerManager | None

    def __init__(self) -> None:
        self.logger_manager = StatLoggerManager(VllmConfig(), custom_stat_loggers=[StepCounts])


def test_nothing_else_counts_where_info_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "vllm.v1.metrics.loggers")
    engine = Engine()
    manager = engine.logger_manager
    assert manager is not None
    assert len(manager.stat_loggers) == 2, "vLLM adds its own"
    assert manager.stat_loggers.count(step_counts(engine)) == len(manager.stat_loggers) == 1


def test_whatever_vllm_tells_its_loggers_is_taken() -> None:
    manager = Engine().logger_manager
    assert manager is not None
    manager.record_sleep_state(1, 1)
    manager.record_admission_rejection("max_num_queued_reqs")
