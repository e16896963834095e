"""Copies of an engine in real processes: what a batch and its caller see of the end of one."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import psutil
import pytest

from deployments.engine import copies
from deployments.engine.base import EngineConfig, PoolingEngine, RowsFailed
from deployments.engine.copies import EngineCopies
from deployments.engine.engine_process import EngineProcessEnded
from deployments.engine.golden import GoldenDrift
from deployments.errors import InternalError, StageUnavailable
from deployments.rows.token_rows import TokenRows
from tests.unit.engine.adding_child import FAULT, POISON, REFUSED, SLOW

_COMMAND = (sys.executable, "-m", "tests.unit.engine.adding_child")
_PLAIN = 10
_PATIENCE_S = 30


def config_of(model: Path) -> EngineConfig:
    return EngineConfig(
        model=str(model),
        process="inline",
        copies=2,
        dtype="float32",
        max_model_len=16,
        max_num_batched_tokens=64,
        max_num_seqs=4,
    )


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[EngineCopies]:
    (tmp_path / "model").mkdir()
    engine = await EngineCopies.start(config_of(tmp_path / "model"), None, _COMMAND)
    yield engine
    engine.close()
    await gone(engine.pids)


async def ask(engine: PoolingEngine, kind: int, number: int = 0) -> float:
    """Difference between the value that comes back and the right one: 0."""
    answer = await engine.embed(TokenRows.pack([[kind, number]]))
    return float(answer.values[0]) - kind - number


async def both(engine: EngineCopies) -> None:
    """Wait until both live."""
    async with asyncio.timeout(_PATIENCE_S):
        while len(engine.pids) < 2:
            await asyncio.sleep(0.01)


async def kill_all(engine: EngineCopies) -> None:
    before = engine.pids
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    await unknown(engine, before)


async def unknown(engine: EngineCopies, pids: set[int]) -> None:
    """Wait until the engine counts none of them as living. Others may have taken their places."""
    async with asyncio.timeout(_PATIENCE_S):
        while engine.pids & pids:
            await asyncio.sleep(0.001)


async def test_batches_are_computed_at_the_same_time(engine: EngineCopies) -> None:
    rows = TokenRows.pack([[SLOW, 5], [_PLAIN, 6]])
    answers = await asyncio.gather(engine.embed(rows), engine.score(rows))
    assert [answer.values.tolist() for answer in answers] == [[8, 16], [8, 16]]
    assert {int(answer.cached_tokens[0]) for answer in answers} == engine.pids


async def test_a_copy_killed_under_load_costs_no_batch(engine: EngineCopies) -> None:
    async def worker(first: int) -> list[float]:
        return [await ask(engine, SLOW, number) for number in range(first, first + 10)]

    before = engine.pids
    work = asyncio.gather(worker(0), worker(100))
    await asyncio.sleep(0.25)
    killed = min(before)
    os.kill(killed, signal.SIGKILL)
    assert list(await work) == [[0.0] * 10] * 2
    await both(engine)
    assert engine.pids & before == before - {killed}
    await engine.check_health()


@pytest.mark.parametrize("kind", [POISON, FAULT])
async def test_a_batch_that_ends_each_copy_fails_alone(engine: EngineCopies, kind: int) -> None:
    before = engine.pids
    with pytest.raises(InternalError):
        await ask(engine, kind)
    assert await ask(engine, _PLAIN, 7) == 0
    await both(engine)
    assert not engine.pids & before
    await engine.check_health()


async def test_rows_that_a_copy_does_not_take_end_no_process(engine: EngineCopies) -> None:
    before = engine.pids
    for _ in range(3):
        with pytest.raises(RowsFailed, match="not taken"):
            await ask(engine, REFUSED)
    assert [await ask(engine, _PLAIN, number) for number in range(5)] == [0] * 5
    assert engine.pids == before
    assert engine._free.qsize() == len(before)


async def test_a_stuck_copy_is_ended_and_its_batch_made_again(
    engine: EngineCopies, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = asyncio.create_task(engine.embed(TokenRows.pack([[SLOW, 1]])))
    await asyncio.sleep(0.02)
    stopped = next(copy for copy in engine._copies if copy.owes_for_s())
    os.kill(stopped.pid, signal.SIGSTOP)
    await engine.check_health()
    assert not stopped.has_ended
    monkeypatch.setattr(copies, "_STUCK_S", 0.01)
    await engine.check_health()
    answer = await call
    assert answer.values.tolist() == [SLOW + 1]
    assert answer.cached_tokens.tolist() != [stopped.pid]


async def test_copies_that_ended_unasked_are_no_fault_of_the_next_batch(
    engine: EngineCopies,
) -> None:
    await kill_all(engine)
    assert await ask(engine, _PLAIN) == 0


async def test_copies_that_are_ending_are_no_fault_of_the_next_batch(engine: EngineCopies) -> None:
    for pid in engine.pids:
        os.kill(pid, signal.SIGKILL)
    assert await ask(engine, _PLAIN) == 0


async def test_the_process_that_copies_are_forked_from_may_die(engine: EngineCopies) -> None:
    before = engine.pids
    [server] = children()
    server.kill()
    await unknown(engine, before)
    assert await ask(engine, _PLAIN) == 0
    await both(engine)


async def test_a_cancelled_batch_leaves_its_copy_usable(engine: EngineCopies) -> None:
    before = engine.pids
    calls = [asyncio.create_task(ask(engine, SLOW, number)) for number in range(4)]
    await asyncio.sleep(0.05)
    for call in calls:
        call.cancel()
    assert await asyncio.gather(*(ask(engine, _PLAIN, number) for number in range(20))) == [0] * 20
    assert engine.pids == before


async def test_without_copies_and_hope_the_stage_is_unavailable(
    engine: EngineCopies, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies, "_FIRST_PAUSE_S", 0.01)
    (tmp_path / "model").rmdir()
    await kill_all(engine)
    with pytest.raises(StageUnavailable):
        await ask(engine, _PLAIN)
    with pytest.raises(StageUnavailable):
        await engine.check_health()


async def test_a_copy_that_cannot_be_loaded_says_why(tmp_path: Path) -> None:
    with pytest.raises(EngineProcessEnded, match="FileNotFoundError: no model in"):
        await EngineCopies.start(config_of(tmp_path / "model"), None, _COMMAND)
    assert children() == []


async def test_a_copy_that_dies_while_it_loads_says_so(tmp_path: Path) -> None:
    dying = (sys.executable, "-c", "import os; os._exit(7)")
    with pytest.raises(EngineProcessEnded, match="ended"):
        await EngineCopies.start(config_of(tmp_path), None, dying)


async def test_each_copy_is_checked_before_it_serves(tmp_path: Path) -> None:
    checked: list[int] = []

    async def check(copy: PoolingEngine) -> None:
        answer = await copy.embed(TokenRows.pack([[_PLAIN]]))
        checked.append(int(answer.cached_tokens[0]))
        if len(checked) == 3:
            raise GoldenDrift("this one has drifted")

    engine = await EngineCopies.start(config_of(tmp_path), check, _COMMAND)
    assert set(checked) == engine.pids
    os.kill(checked[0], signal.SIGKILL)
    async with asyncio.timeout(_PATIENCE_S):
        while len(checked) < 4:
            await asyncio.sleep(0.01)
    await both(engine)
    assert engine.pids == {checked[1], checked[3]}
    await gone([checked[2]])
    engine.close()


async def test_copies_that_do_not_pass_do_not_start(tmp_path: Path) -> None:
    async def drifted(_: PoolingEngine) -> None:
        raise GoldenDrift("all have drifted")

    with pytest.raises(GoldenDrift):
        await EngineCopies.start(config_of(tmp_path), drifted, _COMMAND)
    assert children() == []


_PARENT = """
import asyncio, os, sys
from pathlib import Path
from tests.unit.engine import adding_child, test_copies
from deployments.engine.copies import EngineCopies

async def main():
    config = test_copies.config_of(Path(sys.argv[1]))
    engine = await EngineCopies.start(config, None, test_copies._COMMAND)
    asyncio.create_task(test_copies.ask(engine, adding_child.STUCK))  # one computes, one waits
    await asyncio.sleep(0.05)
    print(*engine.pids, flush=True)
    if sys.argv[2] == "exit":
        os._exit(0)
    await asyncio.sleep(600)

asyncio.run(main())
"""


@pytest.mark.parametrize("way", ["exit", "kill"])
async def test_copies_end_with_their_replica(tmp_path: Path, way: str) -> None:
    command = [sys.executable, "-c", _PARENT, str(tmp_path), way]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 2
        parent.kill()
    await gone(pids)


async def gone(pids: Iterable[int]) -> None:
    async with asyncio.timeout(_PATIENCE_S):
        while any(lives(pid) for pid in pids):
            await asyncio.sleep(0.01)


def lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def children() -> list[psutil.Process]:
    """Fork servers of this process; other tests may have left other children."""
    found = psutil.Process().children()
    return [one for one in found if _COMMAND[-1] in one.cmdline()]
