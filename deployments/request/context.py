"""The context of a request in all stages: its origin, deadline, timings and account.

Knows no stage and no HTTP.
"""

from dataclasses import dataclass
from typing import Protocol

from deployments.request.deadline import Deadline
from deployments.request.origin import Origin
from deployments.request.timings import Timings


class Account(Protocol):
    """Pays for the tokens of a request."""

    async def charge(self, tokens: int) -> None:
        """Count tokens against the tenant's rate limit, before they are computed.

        Raises QuotaExceeded or PayloadTooLarge.
        """
        ...

    async def give_back(self, tokens: int) -> None:
        """Take back a charge for tokens that were not computed."""
        ...

    def count(self, stage: str, tokens: int, cached_tokens: int) -> None:
        """Add a stage's tokens to the bill; `cached_tokens` of them came from a cache."""
        ...


@dataclass(frozen=True, slots=True)
class Context:
    origin: Origin
    deadline: Deadline
    timings: Timings
    account: Account
