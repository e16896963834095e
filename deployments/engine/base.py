"""The `PoolingEngine` protocol, by which a replica runs its model, and an engine's settings.

Knows no vLLM. The implementations beside it do: `inline` runs it in the replica's process,
`separate` in a process of its own, `copies` in several. Tests may implement the protocol otherwise.
"""

import os
from typing import Annotated, Any, Literal, Protocol, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from deployments.rows.model_output import ModelOutput
from deployments.rows.token_rows import TokenRows

# More engines of one model cost more memory than their barriers cost time.
_MOST_AUTO_COPIES = 4


class EngineConfig(BaseModel):
    """The engine of a replica, by vLLM's names. Token counts include special tokens.

    `model` is a directory or a Hub id. `dtype` "auto" is bfloat16 where the processor supports it
    natively, else float32. `tensor_parallel_size` is the number of GPUs that the model is split
    over, all of one node. `threads` is the number of CPU threads (None: one a core, or its share).
    `copies` is how many engines the replica has, each in a process of its own and with one batch
    at a time; "auto" is one a core, at most four. Copies share `gpu_memory_utilization`, and each
    has `kv_cache_memory_bytes`. `quantization` is done while the weights are loaded (None: they are
    as the checkpoint has them). `hf_overrides` are changes to the model's own configuration.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str
    revision: str | None = None
    process: Literal["inline", "separate"]
    dtype: Literal["auto", "float32", "bfloat16", "float16"]
    pooling: Literal["MEAN", "LAST", "CLS"] | None = None
    quantization: str | None = None
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
    copies: Annotated[int, Field(gt=0)] | Literal["auto"] | None = None
    hf_overrides: dict[str, Any] = {}

    @model_validator(mode="after")
    def _copies_are_inline(self) -> Self:
        if self.copies is not None and self.process != "inline":
            raise ValueError("copies are processes already: they need 'process: inline'")
        return self

    @model_validator(mode="after")
    def _a_step_holds_its_sequences(self) -> Self:
        if self.max_num_batched_tokens < self.max_num_seqs:
            raise ValueError(
                f"max_num_batched_tokens is {self.max_num_batched_tokens} and max_num_seqs"
                f" {self.max_num_seqs}: make the first at least the second"
            )
        return self

    def engines(self) -> int:
        """How many there are."""
        if self.copies == "auto":
            return min(cores(), _MOST_AUTO_COPIES)
        return self.copies or 1


def cores() -> int:
    """Return the number of this machine's cores."""
    return os.cpu_count() or 1


class RowsFailed(Exception):
    """The engine could not compute these rows, of which one may be at fault, and goes on."""


class PoolingEngine(Protocol):
    """A loaded model. Calls take any number of rows and answer in their order.

    Rows of different owners share no prefix cache. `embed` and `score` raise RowsFailed for rows
    that cannot be computed together. A failed engine raises EngineFailed from every method and
    does not recover: its replica must be replaced.
    """

    async def embed(self, rows: TokenRows) -> ModelOutput:
        """Return unit vectors, float32 [rows, dimensions]."""
        ...

    async def score(self, rows: TokenRows) -> ModelOutput:
        """Return logits, float32 [rows]; their sigmoid is the relevance score."""
        ...

    async def check_health(self) -> None: ...

    def close(self) -> None: ...
