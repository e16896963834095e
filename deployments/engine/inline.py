"""The engine for CPUs: vLLM in the replica's own process, on a thread of its own.

A whole batch enters the scheduler before the first step, and nothing is serialised. In exchange,
the engine shares the GIL with the replica's event loop, and its crash ends the replica. `separate`
is the engine for GPUs.
"""

import asyncio
import itertools
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import torch

from deployments.engine.arguments import (
    embed_params,
    engine_arguments,
    logits,
    prompts,
    quiet_environment,
    score_params,
    to_model_output,
)
from deployments.engine.base import EngineConfig, RowsFailed, cores
from deployments.errors import EngineFailed
from deployments.rows.model_output import ModelOutput
from deployments.rows.token_rows import TokenRows

if TYPE_CHECKING:
    from vllm import PoolingParams
    from vllm.v1.engine.llm_engine import LLMEngine

    from deployments.engine.step_counts import StepCounts


class InlineEngine:
    """A PoolingEngine. The constructor loads the model and blocks meanwhile."""

    def __init__(self, config: EngineConfig) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="engine")
        self._request_ids = itertools.count()
        self._failure: Exception | None = None
        # Built on the thread that runs it, because torch's settings are per thread.
        self._engine, self._counts = self._thread.submit(_load, config).result()

    async def embed(self, rows: TokenRows) -> ModelOutput:
        return await self._run(rows, itertools.repeat(embed_params(), len(rows)))

    async def score(self, rows: TokenRows) -> ModelOutput:
        return logits(await self._run(rows, score_params(rows)))

    async def check_health(self) -> None:
        if self._failure is not None:
            raise EngineFailed("the model engine has failed")

    def close(self) -> None:
        self._thread.shutdown(wait=True, cancel_futures=True)

    async def _run(self, rows: TokenRows, params: "Iterable[PoolingParams]") -> ModelOutput:
        await self.check_health()
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._step_through, rows, params)

    def _step_through(self, rows: TokenRows, params: "Iterable[PoolingParams]") -> ModelOutput:
        try:
            order = self._add(rows, params)
            done: dict[str, Any] = {}
            while self._engine.has_unfinished_requests():
                for output in self._engine.step():
                    done[output.request_id] = output
            outputs = [done[_outer_id(request_id)] for request_id in order]
            return to_model_output(outputs, self._counts.take())
        except RowsFailed:
            raise
        except Exception as failure:
            # Requests of this batch may still be in the scheduler and would spoil later ones: the
            # replica reports that it is unhealthy and is replaced.
            self._failure = failure
            raise EngineFailed("the model engine has failed") from failure

    def _add(self, rows: TokenRows, params: "Iterable[PoolingParams]") -> list[str]:
        """Put all rows into the scheduler, and return vLLM's names for them.

        Raises RowsFailed, and leaves none of them there, if vLLM does not take one.
        """
        given: list[str] = []
        order: list[str] = []
        for prompt, one in zip(prompts(rows), params, strict=True):
            given.append(str(next(self._request_ids)))
            try:
                order.append(self._engine.add_request(given[-1], prompt, one))
            except Exception as refused:
                self._engine.abort_request(given)
                raise RowsFailed("the model engine does not take one of the rows") from refused
        return order


def end_process_groups() -> None:
    """End vLLM's process groups, in a process with one engine on a CPU that is alone in them.

    It needs none, and each of them has threads of Gloo's that wake up a hundred times a second,
    three dozen together. No other engine can be made in this process afterwards.
    """
    from vllm.distributed import parallel_state
    from vllm.platforms import current_platform

    if not current_platform.is_cpu() or torch.distributed.get_world_size() > 1:
        return
    for group in [found() for found in parallel_state._groups.values()]:
        if group is not None:
            group.destroy()  # type: ignore[no-untyped-call]
    torch.distributed.destroy_process_group()


def _outer_id(internal_id: str) -> str:
    """Return the id that the engine answers with: the given one, without the suffix it added."""
    return internal_id.rsplit("-", 1)[0]


def _load(config: EngineConfig) -> "tuple[LLMEngine, StepCounts]":
    threads = config.threads or cores()
    # OpenMP reads it at its start; Ray sets it to 1 for an actor with few CPUs.
    os.environ["OMP_NUM_THREADS"] = str(threads)
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    quiet_environment()
    torch.set_num_threads(threads)
    from vllm.engine.arg_utils import EngineArgs
    from vllm.v1.engine.llm_engine import LLMEngine

    from deployments.engine.step_counts import StepCounts, step_counts

    arguments = EngineArgs(**engine_arguments(config), disable_log_stats=False)
    engine = LLMEngine.from_engine_args(arguments, stat_loggers=[StepCounts])
    return engine, step_counts(engine)
