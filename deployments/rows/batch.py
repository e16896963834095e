"""A batch that an engine has computed, as metrics and the simulator read it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Batch:
    """`rows` and `tokens` in it, tokens that a cache spared, and seconds from start to results."""

    rows: int
    tokens: int
    cached_tokens: int
    took_s: float
