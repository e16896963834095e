"""The engine for GPUs: vLLM in a process of its own (AsyncLLM).

The replica's event loop stays free while a step runs, and a replica survives its engine's crash to
report it. `inline` is the engine for CPUs.
"""

import asyncio
import itertools
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from deployments.engine.arguments import (
    embed_params,
    engine_arguments,
    logits,
    prompts,
    quiet_environment,
    score_params,
    to_model_output,
)
from deployments.engine.base import EngineConfig, RowsFailed
from deployments.errors import EngineFailed
from deployments.rows.model_output import ModelOutput
from deployments.rows.token_rows import TokenRows

if TYPE_CHECKING:
    from vllm import PoolingParams, PoolingRequestOutput
    from vllm.inputs import TokensInput


class SeparateEngine:
    """A PoolingEngine. The constructor needs a running event loop, and blocks while it loads."""

    def __init__(self, config: EngineConfig) -> None:
        quiet_environment()
        if config.threads is not None:
            # On a CPU. The engine's process would start another one that computes, bound to the
            # first cores, where all the engines of a machine would meet.
            os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
            os.environ["OMP_NUM_THREADS"] = str(config.threads)
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.v1.engine.async_llm import AsyncLLM

        from deployments.engine.step_counts import StepCounts, step_counts

        # With loggers given, vLLM counts, and makes none of its own that write to the log.
        arguments = AsyncEngineArgs(**engine_arguments(config), disable_log_stats=True)
        self._engine = AsyncLLM.from_engine_args(arguments, stat_loggers=[StepCounts])
        self._counts = step_counts(self._engine)
        self._request_ids = itertools.count()

    async def embed(self, rows: TokenRows) -> ModelOutput:
        return await self._run(rows, itertools.repeat(embed_params(), len(rows)))

    async def score(self, rows: TokenRows) -> ModelOutput:
        return logits(await self._run(rows, score_params(rows)))

    async def check_health(self) -> None:
        from vllm.v1.engine.exceptions import EngineDeadError

        try:
            await self._engine.check_health()
        except EngineDeadError as dead:
            raise EngineFailed("the model engine has failed") from dead

    def close(self) -> None:
        self._engine.shutdown()

    async def _run(self, rows: TokenRows, params: "Iterable[PoolingParams]") -> ModelOutput:
        from vllm.v1.engine.exceptions import EngineDeadError

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(self._one(prompt, one))
                    for prompt, one in zip(prompts(rows), params, strict=True)
                ]
        except ExceptionGroup as failures:
            if failures.subgroup(EngineDeadError):
                raise EngineFailed("the model engine has failed") from failures
            # vLLM calls all others recoverable: it did not take the row, or gave it up.
            raise RowsFailed("the model engine could not compute one of the rows") from failures
        # With those of batches beside this one, if they have not been taken yet.
        return to_model_output([task.result() for task in tasks], self._counts.take())

    async def _one(
        self, prompt: "TokensInput", params: "PoolingParams"
    ) -> "PoolingRequestOutput[Any]":
        request_id = str(next(self._request_ids))
        async for output in self._engine.encode(prompt, params, request_id):
            return output
        raise RowsFailed("the model engine gave no answer")
