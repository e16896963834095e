"""The golden check of a replica with several copies of its engine, in real processes."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from deployments.batching import model_replica
from deployments.batching.halves import Compute
from deployments.batching.model_replica import ModelReplica
from deployments.engine.base import PoolingEngine
from deployments.engine.copies import EngineCopies
from deployments.engine.golden import Golden, GoldenDrift, check_golden
from deployments.rows.token_rows import TokenRows
from tests.unit.engine.adding_child import SPOIL, STOP
from tests.unit.engine.test_copies import (
    _COMMAND,
    _PLAIN,
    ask,
    both,
    config_of,
    gone,
    kill_all,
    unknown,
)
from tests.unit.metrics.recorded import Recorded, recorded
from tests.whole.app import config_in

__all__ = ["recorded"]

_GOLDEN = (Golden(query="q", document="d", at_least=-0.5, at_most=0.5),)
_ROWS = TokenRows.pack([[_PLAIN, 1]])


async def _answers(embed: Compute) -> list[float]:
    """Difference to the right answer."""
    return [float((await embed(_ROWS)).values[0]) - _PLAIN - 1]


async def _check(copy: PoolingEngine) -> None:
    check_golden(_GOLDEN, await _answers(copy.embed))


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[EngineCopies]:
    (tmp_path / "model").mkdir()
    engine = await EngineCopies.start(config_of(tmp_path / "model"), _check, _COMMAND)
    yield engine
    engine.close()
    await gone(engine.pids)


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Why the replica would have ended."""
    why: list[str] = []
    monkeypatch.setattr(ModelReplica, "_end", lambda _, reason: why.append(reason))
    return why


@pytest.fixture
async def replica(
    engine: EngineCopies,
    ended: list[str],  # noqa: ARG001
    recorded: Recorded,  # noqa: ARG001
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> ModelReplica:
    """One whose golden check is always due."""
    monkeypatch.setattr(model_replica, "GOLDEN_PERIOD_S", 0.0)
    config = config_in(tmp_path).embedder.model_copy(update={"golden": _GOLDEN})
    replica = ModelReplica()
    replica.attach("stage", config, "fingerprint", engine, lambda one: one.embed)
    await replica.keep_golden(_answers)
    return replica


async def _spoil(engine: EngineCopies, count: int) -> set[int]:
    """Have so many copies answer wrongly from now on; returns their process ids."""
    spoilt = list(engine._copies)[:count]
    for copy in spoilt:
        await copy.embed(TokenRows.pack([[SPOIL]]))
    return {copy.pid for copy in spoilt}


async def test_a_copy_that_drifts_is_ended_alone(
    replica: ModelReplica, engine: EngineCopies, ended: list[str], recorded: Recorded
) -> None:
    before = engine.pids
    spoilt = await _spoil(engine, 1)
    for _ in range(3):
        await replica.check_health()
        assert engine.pids == before
        assert recorded.of("winnow_golden_passed", stage="stage") == 0
    await unknown(engine, spoilt)
    await both(engine)
    assert engine.pids & before == before - spoilt
    assert [await ask(engine, _PLAIN, number) for number in range(10)] == [0] * 10
    await replica.check_health()
    assert recorded.of("winnow_golden_passed", stage="stage") == 1
    assert ended == []


async def test_a_copy_that_passes_again_is_not_ended(
    replica: ModelReplica, engine: EngineCopies, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = engine.pids
    [wrong, *_] = engine._copies

    async def drifted(embed: Compute) -> list[float]:
        return [1.0] if embed.__self__ is wrong else [0.0]  # type: ignore[attr-defined]

    monkeypatch.setattr(replica, "_counted", lambda compute: compute)
    for _ in range(2):
        for answers in (drifted, drifted, _answers):
            replica._golden_answers = answers
            await replica.check_health()
    await asyncio.sleep(0.1)
    assert engine.pids == before


async def test_a_replica_whose_every_copy_has_drifted_ends(
    replica: ModelReplica, engine: EngineCopies, ended: list[str]
) -> None:
    await _spoil(engine, 2)
    for _ in range(2):
        await replica.check_health()
    assert ended == []
    with pytest.raises(GoldenDrift):
        await replica.check_health()
    assert ended == ["the model has drifted"]


async def test_copies_that_start_again_are_not_waited_for(
    replica: ModelReplica, engine: EngineCopies, tmp_path: Path
) -> None:
    (tmp_path / "model" / STOP).touch()
    await kill_all(engine)
    async with asyncio.timeout(1):
        await replica.check_health()
    assert not engine.pids


async def test_a_stuck_copy_does_not_fail_the_health_of_all(
    replica: ModelReplica, engine: EngineCopies, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_replica, "_COPY_PATIENCE_S", 0.1)
    os.kill(min(engine.pids), signal.SIGSTOP)
    async with asyncio.timeout(5):
        await replica.check_health()
