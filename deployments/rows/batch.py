"""The record of one batch that an engine computed, for metrics and the simulator."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows and tokens of a batch, tokens found in the prefix cache, and seconds it took."""

    rows: int
    tokens: int
    cached_tokens: int
    took_s: float
