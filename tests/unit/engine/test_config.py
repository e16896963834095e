"""Engines of a replica: their number, the cores and memory of each, and its batches at once."""

import os
from typing import Any

import pytest
from pydantic import ValidationError

from cluster.config import AppConfig
from cluster.profile import application, load_profile
from deployments.embedder import Embedder
from deployments.engine.base import EngineConfig
from deployments.engine.copies import config_of_one
from tests.whole.engine import HashingEngine


def _engine(**fields: Any) -> EngineConfig:
    embedder = AppConfig.model_validate(application(load_profile("local"))["args"]).embedder
    return EngineConfig.model_validate(embedder.engine.model_dump() | fields)


@pytest.mark.parametrize(("cores", "engines"), [(None, 1), (1, 1), (2, 2), (64, 4)])
def test_auto_is_one_a_core_up_to_four(
    cores: int | None, engines: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    assert _engine(copies="auto").engines() == engines


def test_copies_share_cores_and_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    one = config_of_one(_engine(copies=3, gpu_memory_utilization=0.9))
    assert (one.copies, one.threads) == (None, 2)
    assert one.gpu_memory_utilization == pytest.approx(0.3)
    assert config_of_one(_engine(copies=16)).threads == 1
    assert config_of_one(_engine(copies=2, threads=3)).threads == 3


@pytest.mark.parametrize("fields", [{"copies": 0}, {"copies": 2, "process": "separate"}])
def test_copies_that_make_no_sense_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="copies"):
        _engine(**fields)


@pytest.mark.parametrize(("copies", "slots"), [(3, 3), (None, 5)])
def test_a_replica_sends_each_copy_a_batch(copies: int | None, slots: int) -> None:
    config = AppConfig.model_validate(application(load_profile("local"))["args"]).embedder
    config = config.model_copy(update={"engine": _engine(copies=copies)})
    replica: Embedder = object.__new__(Embedder)
    replica.attach("embed", config, "fingerprint", HashingEngine(8), lambda engine: engine.embed)
    replica.reconfigure({"slots": 5})
    assert replica._batcher.limits.slots == slots
