"""The `PoolingEngine` protocol, by which a replica runs its model, and an engine's settings.

Knows no vLLM. The implementations beside it do: `inline` runs it in the replica's process,
`separate` in a process of its own. Tests may implement the protocol otherwise.
"""

from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field

from deployments.rows.model_output import ModelOutput
from deployments.rows.token_rows import TokenRows


class EngineConfig(BaseModel):
    """The settings of one engine, by vLLM's names. Token counts include special tokens.

    `model` is a directory or a Hub id. `dtype` "auto" is bfloat16 where the processor supports it
    natively, else float32. `tensor_parallel_size` is the number of GPUs that the model is split
    over, all of one node. `threads` is the number of CPU threads (None: one a core).
    `hf_overrides` are changes to the model's own configuration.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str
    revision: str | None = None
    process: Literal["inline", "separate"]
    dtype: Literal["auto", "float32", "bfloat16", "float16"]
    pooling: Literal["MEAN", "LAST", "CLS"] | None = None
    max_model_len: int = Field(gt=0)
    max_num_batched_tokens: int = Field(gt=0)
    max_num_seqs: int = Field(gt=0)
    kv_cache_memory_bytes: int | None = Field(default=None, gt=0)
    gpu_memory_utilization: float = Field(default=0.9, gt=0, le=1)
    tensor_parallel_size: int = Field(default=1, gt=0)
    enforce_eager: bool = False
    enable_prefix_caching: bool | None = None
    block_size: int | None = None
    threads: int | None = Field(default=None, gt=0)
    hf_overrides: dict[str, Any] = {}


class PoolingEngine(Protocol):
    """A loaded model. Calls take any number of rows and answer in their order.

    Rows of different owners share no prefix cache. A failed engine raises StageUnavailable from
    every method and does not recover: its replica must be replaced.
    """

    async def embed(self, rows: TokenRows) -> ModelOutput:
        """Return unit vectors, float32 [rows, dimensions]."""
        ...

    async def score(self, rows: TokenRows) -> ModelOutput:
        """Return logits, float32 [rows]; their sigmoid is the relevance score."""
        ...

    async def check_health(self) -> None: ...

    def close(self) -> None: ...
