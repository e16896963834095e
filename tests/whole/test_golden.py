"""A model that no longer gives its golden answers takes its replica out of service."""

import asyncio
import os
from dataclasses import replace
from pathlib import Path

import pytest

from deployments import embedder, reranker
from deployments.batching import model_replica
from deployments.batching.model_replica import Answers, ModelReplica
from deployments.config import ModelConfig
from deployments.embedder import Embedder
from deployments.engine.golden import GoldenDrift
from deployments.metrics.canary import EXPORT_S
from deployments.reranker import Reranker
from deployments.rows.engine_counts import EngineCounts
from deployments.rows.model_output import ModelOutput
from deployments.rows.token_rows import TokenRows
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
        answers = embedder._golden(
            engine.embed, config.embedder, Path(config.embedder.engine.model)
        )
        return await _replica(Embedder, config.embedder, engine, answers), engine
    answers = reranker._golden(engine.score, config.reranker, Path(config.reranker.engine.model))
    return await _replica(Reranker, config.reranker, engine, answers), engine


async def _replica(
    of: type[ModelReplica], config: ModelConfig, engine: HashingEngine, answers: Answers
) -> ModelReplica:
    golden = tuple(
        pair.model_copy(update={"at_least": answer - 1e-4, "at_most": answer + 1e-4})
        for pair, answer in zip(config.golden, await answers(), strict=True)
    )
    replica: ModelReplica = object.__new__(of)
    told = config.model_copy(update={"golden": golden})
    replica.attach("stage", told, "fingerprint", engine, lambda one: one.embed)
    await replica.keep_golden(answers)
    return replica


async def test_vectors_of_another_width_than_the_profile_says_are_not_served(
    tmp_path: Path,
) -> None:
    config = config_in(tmp_path).embedder
    wrong = config.model_copy(update={"dimensions": DIMENSIONS + 1})
    answers = embedder._golden(HashingEngine(DIMENSIONS).embed, wrong, Path(config.engine.model))
    with pytest.raises(ValueError, match=f"is {DIMENSIONS + 1}, .* have {DIMENSIONS}: write"):
        await _replica(Embedder, wrong, HashingEngine(DIMENSIONS), answers)


async def test_a_drifted_model_fails_its_health_check_and_ends(
    made: tuple[ModelReplica, HashingEngine], ended: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    replica, engine = made
    engine.drift = _DRIFT
    await replica.check_health()  # not due yet
    monkeypatch.setattr(model_replica, "GOLDEN_PERIOD_S", 0.0)
    engine.drift = 0.0
    await replica.keep_golden(_answers_of(replica))
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


def _answers_of(replica: ModelReplica) -> Answers:
    assert replica._golden_answers is not None
    return replica._golden_answers


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
    await replica.keep_golden(_answers_of(replica))
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
        await replica.start("embed", config, lambda one: one.embed, embedder._golden)  # type: ignore[arg-type]
    assert recorded.of("winnow_golden_passed", stage="embed") == 0
    assert slept == [EXPORT_S]


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
    config = config_in(tmp_path).embedder
    anything = tuple(
        pair.model_copy(update={"at_least": -1, "at_most": 1}) for pair in config.golden
    )
    replica = object.__new__(Embedder)
    await replica.__init__(config.model_copy(update={"golden": anything}))  # type: ignore[misc]
    await replica.check_health()
    steps = recorded.of("vllm_engine_steps", stage="embed")
    assert steps == pytest.approx(2), "of queries and of documents"
