"""What goes with a request through all its stages: whose it is, until when, where its time went,
and who pays."""

from dataclasses import dataclass
from typing import Protocol

from deployments.request.deadline import Deadline
from deployments.request.origin import Origin
from deployments.request.timings import Timings


class Account(Protocol):
    async def charge(self, tokens: int) -> None:
        """Before they are computed; raises a WinnowError if they may not be."""
        ...

    def count(self, stage: str, tokens: int, cached_tokens: int) -> None:
        """A stage has done this much, of which a cache spared it `cached_tokens`."""
        ...


@dataclass(frozen=True, slots=True)
class Context:
    origin: Origin
    deadline: Deadline
    timings: Timings
    account: Account
