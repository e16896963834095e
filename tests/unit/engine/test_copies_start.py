"""Copies of an engine that hang while they start, in real processes."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from deployments.engine import copies
from deployments.engine.base import PoolingEngine
from deployments.engine.copies import EngineCopies
from deployments.engine.engine_process import EngineProcessEnded
from deployments.rows.token_rows import TokenRows
from tests.unit.engine.adding_child import STOP, STUCK
from tests.unit.engine.test_copies import (
    _COMMAND,
    _PATIENCE_S,
    _PLAIN,
    ask,
    both,
    children,
    config_of,
    gone,
    kill_all,
    unknown,
)

# More than it takes to start such a copy, and less than the tests wait.
_LONGEST_START_S = 4.0


class _Checked:
    """An engine's copies, and what their check asks each: what takes for ever, while it `hangs`."""

    def __init__(self) -> None:
        self.hangs = False
        self.seen: list[int] = []

    async def check(self, copy: PoolingEngine) -> None:
        [pid] = (await copy.embed(TokenRows.pack([[_PLAIN]]))).cached_tokens.tolist()
        self.seen.append(pid)
        if self.hangs:
            await copy.embed(TokenRows.pack([[STUCK]]))


@pytest.fixture
def checked() -> _Checked:
    return _Checked()


@pytest.fixture
async def engine(
    tmp_path: Path, checked: _Checked, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[EngineCopies]:
    engine = await EngineCopies.start(config_of(tmp_path), checked.check, _COMMAND)
    monkeypatch.setattr(copies, "_LONGEST_START_S", _LONGEST_START_S)
    monkeypatch.setattr(copies, "_FIRST_PAUSE_S", 0.01)
    yield engine
    engine.close()
    await gone(engine.pids)


def stopped() -> list[int]:
    """Processes of copies that have stopped."""
    forked = [one for server in children() for one in server.children()]
    return [one.pid for one in forked if one.status() == psutil.STATUS_STOPPED]


async def test_a_copy_that_stops_while_it_loads_is_ended_and_started_again(
    engine: EngineCopies, tmp_path: Path
) -> None:
    (tmp_path / STOP).touch()
    [killed, living] = engine.pids
    os.kill(killed, signal.SIGKILL)
    await unknown(engine, {killed})
    async with asyncio.timeout(_PATIENCE_S):
        while not (hung := stopped()):
            await asyncio.sleep(0.01)
    (tmp_path / STOP).unlink()
    await gone(hung)
    await both(engine)
    assert living in engine.pids


async def test_a_copy_that_hangs_in_its_check_is_ended_and_started_again(
    engine: EngineCopies, checked: _Checked
) -> None:
    checked.hangs = True
    [killed, living] = engine.pids
    os.kill(killed, signal.SIGKILL)
    async with asyncio.timeout(_PATIENCE_S):
        while len(checked.seen) < 3:
            await asyncio.sleep(0.01)
    checked.hangs = False
    await gone(checked.seen[2:3])
    await both(engine)
    assert living in engine.pids


async def test_a_stuck_fork_server_is_replaced_when_no_copy_lives(
    engine: EngineCopies, monkeypatch: pytest.MonkeyPatch
) -> None:
    # On a busy machine the new one may be late, too.
    monkeypatch.setattr(copies, "_FAILED_STARTS", 100)
    monkeypatch.setattr(copies, "_LONGEST_START_S", 2 * _LONGEST_START_S)
    [server] = children()
    server.suspend()
    await kill_all(engine)
    async with asyncio.timeout(2 * _PATIENCE_S):
        assert await ask(engine, _PLAIN) == 0
    await both(engine)
    assert not server.is_running() or server.status() == psutil.STATUS_ZOMBIE


async def test_a_stuck_fork_server_is_left_to_a_copy_that_lives(engine: EngineCopies) -> None:
    [server] = children()
    server.suspend()
    [killed, living] = engine.pids
    os.kill(killed, signal.SIGKILL)
    async with asyncio.timeout(_PATIENCE_S):
        while not engine._failed_starts:
            await asyncio.sleep(0.01)
    assert engine.pids == {living}
    server.resume()
    await both(engine)
    assert living in engine.pids


async def test_an_engine_whose_copies_hang_does_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies, "_LONGEST_START_S", _LONGEST_START_S)
    (tmp_path / STOP).touch()
    with pytest.raises(EngineProcessEnded, match="not started within 4 s"):
        async with asyncio.timeout(_PATIENCE_S):
            await EngineCopies.start(config_of(tmp_path), None, _COMMAND)
    assert children() == []
