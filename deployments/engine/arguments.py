"""Translation of our engine settings to vLLM's arguments, and of its outputs to ours.

Shared by both engines; knows neither of them.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from deployments.engine.base import EngineConfig
from deployments.rows.engine_counts import EngineCounts
from deployments.rows.model_output import ModelOutput
from deployments.rows.token_rows import TokenRows

if TYPE_CHECKING:
    from vllm import PoolingParams, PoolingRequestOutput
    from vllm.inputs import TokensInput


def engine_arguments(config: EngineConfig) -> dict[str, Any]:
    """Return the keyword arguments for vLLM's EngineArgs and AsyncEngineArgs."""
    from vllm.config import PoolerConfig

    arguments: dict[str, Any] = config.model_dump(
        exclude={"process", "copies", "pooling", "threads"}
    )
    if config.dtype == "auto":
        arguments["dtype"] = "bfloat16" if _computes_in_bfloat16() else "float32"
    if config.pooling is not None:
        arguments["convert"] = "embed"
        arguments["pooler_config"] = PoolerConfig(
            task="embed", seq_pooling_type=config.pooling, use_activation=True
        )
    # Left out, vLLM chooses them for the platform and the checkpoint.
    for name in ("enable_prefix_caching", "block_size", "kv_cache_memory_bytes", "quantization"):
        if arguments[name] is None:
            del arguments[name]
    if config.tensor_parallel_size > 1:
        # The replica already holds the engine's GPUs; vLLM's own use of Ray would ask for more.
        arguments["distributed_executor_backend"] = "mp"
    return arguments | {"runner": "pooling"}


def _computes_in_bfloat16() -> bool:
    """Return whether bfloat16 is native here; emulated, it is slower than float32."""
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def quiet_environment() -> None:
    """Set variables that vLLM reads at import: no usage reports, no logging configuration."""
    os.environ["VLLM_NO_USAGE_STATS"] = "1"
    # vLLM's logging configuration closes every existing handler. Without Serve's, the replica's log
    # ends, and a Serve controller that restarts stops the replica.
    os.environ["VLLM_CONFIGURE_LOGGING"] = "0"


def embed_params() -> "PoolingParams":
    from vllm import PoolingParams

    return PoolingParams(task="embed")


def score_params(rows: TokenRows) -> Iterator["PoolingParams"]:
    """Yield each row's parameters, for raw logits: vLLM's activation depends on the checkpoint."""
    from vllm import PoolingParams

    if rows.segments is None:
        shared = PoolingParams(task="classify", use_activation=False)
        for _ in range(len(rows)):
            yield shared
        return
    for start in rows.segments.tolist():
        yield PoolingParams(
            task="classify",
            use_activation=False,
            extra_kwargs={"compressed_token_type_ids": start},
        )


def prompts(rows: TokenRows) -> "Iterator[TokensInput]":
    """Yield each row's prompt, salted with its owner.

    Owners share no prefix cache: a hit would show, by its time and in `usage`, what another tenant
    has sent.
    """
    from vllm.inputs import tokens_input

    for ids, owner in zip_longest(rows, rows.owners):
        yield tokens_input(ids, cache_salt=owner)


def to_model_output(
    outputs: "Sequence[PoolingRequestOutput[Any]]", counts: EngineCounts
) -> ModelOutput:
    """Stack vLLM's outputs; `values` is float32 [rows, width]."""
    vectors = [output.outputs.data.numpy() for output in outputs]
    cached = [output.num_cached_tokens for output in outputs]
    values = np.stack(vectors).astype(np.float32, copy=False)
    return ModelOutput(values, np.array(cached, np.int32), counts=counts)


def logits(scored: ModelOutput) -> ModelOutput:
    """Reshape `values` from [rows, 1] to [rows]."""
    return replace(scored, values=scored.values.reshape(len(scored)))
