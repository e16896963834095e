"""Our engine settings in vLLM's words, and its answers in ours. Shared by both engines."""

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from deployments.engine.base import EngineConfig
from deployments.token_rows import TokenRows

if TYPE_CHECKING:
    from vllm import PoolingParams, PoolingRequestOutput


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
    return arguments | {"runner": "pooling", "disable_log_stats": True}


def _computes_in_bfloat16() -> bool:
    """Natively: emulated, it is slower than float32."""
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def quiet_environment() -> None:
    """vLLM reads these at import: no usage reports, and only its warnings in the replica's log."""
    os.environ["VLLM_NO_USAGE_STATS"] = "1"
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")


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


def stack(outputs: "Sequence[PoolingRequestOutput[Any]]") -> NDArray[np.float32]:
    """float32 [rows, width]."""
    vectors = [output.outputs.data.numpy() for output in outputs]
    return np.stack(vectors).astype(np.float32, copy=False)
