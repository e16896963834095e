"""Our engine settings in vLLM's words, and its answers in ours. Shared by both engines."""

import os
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from deployments.engine.base import EngineConfig
from deployments.rows.model_output import ModelOutput
from deployments.rows.token_rows import TokenRows

if TYPE_CHECKING:
    from vllm import PoolingParams, PoolingRequestOutput
    from vllm.inputs import TokensInput


def engine_arguments(config: EngineConfig) -> dict[str, Any]:
    """Keyword arguments of vLLM's EngineArgs and AsyncEngineArgs."""
    from vllm.config import PoolerConfig

    arguments: dict[str, Any] = config.model_dump(exclude={"process", "pooling", "threads"})
    if config.dtype == "auto":
        arguments["dtype"] = "bfloat16" if _computes_in_bfloat16() else "float32"
    if config.pooling is not None:
        arguments["convert"] = "embed"
        arguments["pooler_config"] = PoolerConfig(
            task="embed", seq_pooling_type=config.pooling, use_activation=True
        )
    # A model that names neither keeps vLLM's own choice for the platform.
    for name in ("enable_prefix_caching", "block_size", "kv_cache_memory_bytes"):
        if arguments[name] is None:
            del arguments[name]
    if config.tensor_parallel_size > 1:
        # Ray gave the replica all of the engine's GPUs; vLLM's own use of Ray would ask for more.
        arguments["distributed_executor_backend"] = "mp"
    return arguments | {"runner": "pooling", "disable_log_stats": True}


def _computes_in_bfloat16() -> bool:
    """Natively: emulated, it is slower than float32."""
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def quiet_environment() -> None:
    """vLLM reads these at import: no usage reports, and only its warnings in the replica's log."""
    os.environ["VLLM_NO_USAGE_STATS"] = "1"
    # Its own logging configuration closes every handler there is. One of them is Serve's, without
    # which the replica's log ends, and a Serve controller that comes back stops the replica.
    os.environ["VLLM_CONFIGURE_LOGGING"] = "0"


def embed_params() -> "PoolingParams":
    from vllm import PoolingParams

    return PoolingParams(task="embed")


def score_params(rows: TokenRows) -> Iterator["PoolingParams"]:
    """One a row. Raw logits: vLLM's activation depends on the checkpoint, ours must not."""
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
    """One a row. What one owner's requests left in the prefix cache is never another's: a hit
    would show, in time and in `usage`, what someone else has asked."""
    from vllm.inputs import tokens_input

    for ids, owner in zip_longest(rows, rows.owners):
        yield tokens_input(ids, cache_salt=owner)


def to_model_output(outputs: "Sequence[PoolingRequestOutput[Any]]") -> ModelOutput:
    """`values` are float32 [rows, width]."""
    vectors = [output.outputs.data.numpy() for output in outputs]
    cached = [output.num_cached_tokens for output in outputs]
    values = np.stack(vectors).astype(np.float32, copy=False)
    return ModelOutput(values, np.array(cached, np.int32))


def logits(scored: ModelOutput) -> ModelOutput:
    """`values` [rows, 1] as [rows]."""
    return ModelOutput(scored.values.reshape(len(scored)), scored.cached_tokens)
