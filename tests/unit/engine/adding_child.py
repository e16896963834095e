"""The process of a copy whose engine needs no weights: what it is asked is in the tokens."""

import os
import signal
import time
from pathlib import Path

import numpy as np

from deployments.engine import child
from deployments.engine.base import EngineConfig, PoolingEngine, RowsFailed
from deployments.rows.model_output import ModelOutput
from deployments.rows.token_rows import TokenRows

# A row that begins with it: ends the process; fails; takes a tenth of a second; takes for ever; is
# not taken; makes all answers wrong from now on.
POISON, FAULT, SLOW, STUCK, REFUSED, SPOIL = 1, 2, 3, 4, 5, 6
# A process that loads a model with such a file in its directory stops.
STOP = "stop"


class AddingEngine:
    """The answer to a row is the sum of its ids, and its cached tokens are the process's id."""

    def __init__(self) -> None:
        self._drift = 0

    async def embed(self, rows: TokenRows) -> ModelOutput:
        for row in rows:
            if row[0] == POISON:
                os.kill(os.getpid(), signal.SIGKILL)
            if row[0] == FAULT:
                raise ValueError("a fault of the engine")
            if row[0] == REFUSED:
                raise RowsFailed("this row is not taken")
            if row[0] == SPOIL:
                self._drift = 1
            time.sleep({SLOW: 0.1, STUCK: 600}.get(row[0], 0))
        sums = np.array([sum(row) + self._drift for row in rows], np.float32)
        return ModelOutput(sums, np.full(len(rows), os.getpid(), np.int32))

    async def score(self, rows: TokenRows) -> ModelOutput:
        return await self.embed(rows)

    async def check_health(self) -> None:
        return

    def close(self) -> None:
        return


def prepare() -> None:
    """Nothing to import."""


def load(config: EngineConfig) -> PoolingEngine:
    if not Path(config.model).is_dir():
        raise FileNotFoundError(f"no model in {config.model}")
    if (Path(config.model) / STOP).exists():
        os.kill(os.getpid(), signal.SIGSTOP)
    return AddingEngine()


if __name__ == "__main__":
    child.main(prepare, load)
