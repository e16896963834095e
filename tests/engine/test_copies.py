"""A copy of a real engine that is killed under load."""

import asyncio
import os
import signal
import time
from pathlib import Path

import numpy as np

from deployments.config import EmbedderConfig
from deployments.engine.copies import EngineCopies
from deployments.rows.token_rows import TokenRows
from tests.engine.test_conformance import config_of

_PATIENCE_S = 180


def _threads(pid: int) -> list[str]:
    return [thread.read_text() for thread in Path(f"/proc/{pid}/task").glob("*/comm")]


async def test_a_copy_killed_under_load() -> None:
    config = EmbedderConfig.model_validate(config_of("tiny-qwen3", "embedder"))
    engine = await EngineCopies.start(config.engine.model_copy(update={"copies": 2}), None)
    rows = [TokenRows.pack([[n % 100 + 1] * 20] * 4) for n in range(200)]
    expected = [(await engine.embed(one)).values for one in rows[:100]] * 2
    before = engine.pids
    assert not [name for pid in before for name in _threads(pid) if name.startswith("gloo")]
    killed_at = time.monotonic() + 0.2

    async def worker(first: int) -> None:
        for n in range(first, len(rows), 2):
            found = (await engine.embed(rows[n])).values
            assert (np.sum(found * expected[n], axis=1) > 0.999).all()

    async with asyncio.TaskGroup() as group:
        group.create_task(worker(0))
        group.create_task(worker(1))
        await asyncio.sleep(max(0.0, killed_at - time.monotonic()))
        os.kill(min(before), signal.SIGKILL)
    async with asyncio.timeout(_PATIENCE_S):
        while len(engine.pids) < 2:
            await asyncio.sleep(0.1)
    assert len(engine.pids & before) == 1
    found = await asyncio.gather(*(engine.embed(one) for one in rows[:2]))
    assert np.allclose([one.values for one in found], expected[:2], atol=1e-2)
    engine.close()
