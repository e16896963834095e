"""A model that no longer gives its golden answers takes its replica out of service."""

import asyncio
import os
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from deployments import embedder, reranker
from deployments.batching import model_replica
from deployments.batching.halves import Compute
from deployments.batching.model_replica import Answers, ModelReplica
from deployments.config import EmbedderConfig, ModelConfig
from deployments.embedder import Embedder
from deployments.engine.base import EngineConfig, PoolingEngine
from deployments.engine.copies import Check
from deployments.engine.golden import GoldenDrift
from deployments.metrics.canary import EXPORT_S
from deployments.reranker import Reranker
from deployments.rows.engine_counts import EngineCounts
from deployments.rows.model_output import ModelOutput
from deployments.rows.token_rows import TokenRows
from deployments.text.tokenizer_files import load_tokenizer
from tests.unit.metrics.recorded import Recorded, recorded
from tests.whole.app import DIMENSIONS, config_in
from tests.whole.engine import HashingEngine

__all__ = ["recorded"]

_DRIFT = 3.0


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The codes that the replica would have ended with."""
    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)
    monkeypatch.setattr(model_replica, "_LAST_WORDS_S", 0.0)
    return codes


@pytest.fixture(params=["embed", "rerank"])
async def made(
    request: pytest.FixtureRequest, tmp_path: Path
) -> tuple[ModelReplica, HashingEngine]:
    """A replica whose golden answers are what its engine answers now."""
    config = config_in(tmp_path)
    engine = HashingEngine(DIMENSIONS)
    if request.param == "embed":
        golden = embedder._golden(config.embedder, Path(config.embedder.engine.model))
        return await _replica(Embedder, config.embedder, engine, golden), engine
    golden = reranker._golden(config.reranker, Path(config.reranker.engine.model))
    return await _replica(Reranker, config.reranker, engine, golden), engine


async def _replica(
    of: type[ModelReplica], config: ModelConfig, engine: HashingEngine, answers: Answers
) -> ModelReplica:
    def method(one: PoolingEngine) -> Compute:
        return one.embed if of is Embedder else one.score

    golden = tuple(
        pair.model_copy(update={"at_least": answer - 1e-4, "at_most": answer + 1e-4})
        for pair, answer in zip(config.golden, await answers(method(engine)), strict=True)
    )
    replica: ModelReplica = object.__new__(of)
    told = config.model_copy(update={"golden": golden})
    replica.attach("stage", told, "fingerprint", engine, method)
    await replica.keep_golden(answers)
    return replica


async def test_vectors_of_another_width_than_the_profile_says_are_not_served(
    tmp_path: Path,
) -> None:
    config = config_in(tmp_path).embedder
    wrong = config.model_copy(update={"dimensions": DIMENSIONS + 1})
    golden = embedder._golden(wrong, Path(config.engine.model))
    with pytest.raises(ValueError, match=f"is {DIMENSIONS + 1}, .* have {DIMENSIONS}: write"):
        await _replica(Embedder, wrong, HashingEngine(DIMENSIONS), golden)


async def test_a_drifted_model_fails_its_health_check_and_ends(
    made: tuple[ModelReplica, HashingEngine], ended: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    replica, engine = made
    engine.drift = _DRIFT
    await replica.check_health()  # not due yet
    monkeypatch.setattr(model_replica, "GOLDEN_PERIOD_S", 0.0)
    engine.drift = 0.0
    await replica._check_golden()
    await replica.check_health()
    assert ended == []
    engine.drift = _DRIFT
    await replica.check_health()
    await replica.check_health()
    engine.drift = 0.0
    await replica.check_health()  # it has passed
    engine.drift = _DRIFT
    await replica.check_health()
    await replica.check_health()
    assert ended == []
    with pytest.raises(GoldenDrift):
        await replica.check_health()
    await asyncio.sleep(0.01)
    assert ended == [1]


async def test_the_canary_is_reported_with_the_health(
    made: tuple[ModelReplica, HashingEngine],
    ended: list[int],
    recorded: Recorded,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    replica, engine = made
    await replica.check_health()
    assert recorded.of("winnow_golden_passed", stage="stage") == 1
    monkeypatch.setattr(model_replica, "GOLDEN_PERIOD_S", 0.0)
    await replica._check_golden()
    engine.drift = _DRIFT
    await replica.check_health()
    assert recorded.of("winnow_golden_passed", stage="stage") == 0
    engine.drift = 0.0
    await replica.check_health()
    assert recorded.of("winnow_golden_passed", stage="stage") == 1
    assert ended == []


async def test_a_replica_that_drifts_at_its_start_lives_until_it_was_seen(
    recorded: Recorded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    sleep = asyncio.sleep

    async def drifts(*_: object) -> None:
        raise GoldenDrift("another model")

    async def note(seconds: float) -> None:
        if seconds == EXPORT_S:
            slept.append(seconds)
        else:  # code that runs beside this test
            await sleep(seconds)

    monkeypatch.setattr(model_replica, "build_engine", drifts)
    monkeypatch.setattr(asyncio, "sleep", note)
    config = config_in(tmp_path).embedder
    replica: ModelReplica = object.__new__(Embedder)
    with pytest.raises(GoldenDrift):
        await replica.start(
            "embed", config, lambda one: one.embed, partial(embedder._golden, config)
        )
    assert recorded.of("winnow_golden_passed", stage="embed") == 0
    assert slept == [EXPORT_S]


async def test_the_golden_rows_are_made_once_for_all_copies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[Path] = []

    def note(directory: Path) -> Tokenizer:
        loaded.append(directory)
        return load_tokenizer(directory)

    async def build(_: EngineConfig, check: Check) -> HashingEngine:
        engine = HashingEngine(DIMENSIONS)
        await check(engine)
        await check(engine)
        return engine

    monkeypatch.setattr("deployments.embedder.load_tokenizer", note)
    monkeypatch.setattr(model_replica, "build_engine", build)
    await object.__new__(Embedder).__init__(_with_any_answer(config_in(tmp_path).embedder))  # type: ignore[misc]
    assert len(loaded) == 1


def _with_any_answer(config: EmbedderConfig) -> EmbedderConfig:
    anything = [pair.model_copy(update={"at_least": -1, "at_most": 1}) for pair in config.golden]
    return config.model_copy(update={"golden": tuple(anything)})


class _Counting(HashingEngine):
    """A step a call."""

    async def embed(self, rows: TokenRows) -> ModelOutput:
        return replace(await super().embed(rows), counts=EngineCounts(steps=1))


async def test_counts_that_come_with_a_golden_check_are_not_lost(
    recorded: Recorded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def build(*_: object) -> _Counting:
        return _Counting(DIMENSIONS)

    monkeypatch.setattr(model_replica, "build_engine", build)
    replica = object.__new__(Embedder)
    await replica.__init__(_with_any_answer(config_in(tmp_path).embedder))  # type: ignore[misc]
    await replica.check_health()
    steps = recorded.of("vllm_engine_steps", stage="embed")
    assert steps == pytest.approx(2), "of queries and of documents"
