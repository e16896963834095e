"""A replica whose engine has failed tells those at fault, and answers nobody else any more."""

import asyncio
import os
from pathlib import Path

import pytest

from deployments.batching import model_replica
from deployments.embedder import Embedder
from deployments.errors import EngineFailed
from deployments.request.origin import Origin
from deployments.rows.model_output import ModelOutput
from deployments.rows.token_rows import TokenRows
from tests.whole.app import DIMENSIONS, config_in
from tests.whole.engine import HashingEngine


class Mortal(HashingEngine):
    """Fails for good at its first batch."""

    async def embed(self, rows: TokenRows) -> ModelOutput:  # noqa: ARG002
        raise EngineFailed("the model engine has failed")


async def test_only_the_batch_that_met_the_failure_is_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)
    monkeypatch.setattr(model_replica, "_LAST_WORDS_S", 0.1)
    replica: Embedder = object.__new__(Embedder)
    config = config_in(tmp_path).embedder
    replica.attach("embed", config, "fingerprint", Mortal(DIMENSIONS), lambda one: one.embed)

    async def ask() -> object:
        rows = TokenRows.pack([[1, 2, 3]])
        return await replica.embed(rows, 5, Origin("acme"), replica._contract)

    with pytest.raises(EngineFailed):
        await ask()
    later = asyncio.create_task(ask())
    await asyncio.sleep(0.2)
    assert codes == [1]
    assert not later.done(), "it would have drawn the traffic"
    later.cancel()
