"""Usage of one tenant, stage and model in one hour. Knows no database and no file."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class UsageRecord:
    """`hour` counts hours since 1970; of `tokens` a cache spared the model `cached_tokens`."""

    hour: int
    tenant: str
    stage: str
    model: str
    requests: int
    tokens: int
    cached_tokens: int
