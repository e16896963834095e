"""Usage records, as the journal, the ledger and the API share them. Knows no database or file."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class UsageRecord:
    """Usage of one model by one tenant in one hour.

    `hour` is in hours since 1970. `cached_tokens` of the `tokens` came from a cache.
    """

    hour: int
    tenant: str
    stage: str
    model: str
    requests: int
    tokens: int
    cached_tokens: int
