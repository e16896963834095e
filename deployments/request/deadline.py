"""How long a request may still take, carried over all its stages.

Counts on a clock that is given (seconds, monotonic), so that tests and the simulator own the time.
Between processes it travels as the seconds left, because their clocks do not agree.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from deployments.errors import DeadlineExceeded

Clock = Callable[[], float]
T = TypeVar("T")

_TOO_LATE = "the request ran out of time: allow more with deadline_ms"


@dataclass(frozen=True, slots=True)
class Deadline:
    """An instant `at_s` on `clock`."""

    at_s: float
    clock: Clock

    @classmethod
    def after(cls, timeout_s: float, clock: Clock) -> "Deadline":
        return cls(clock() + timeout_s, clock)

    def left_s(self) -> float:
        """Seconds left; raises DeadlineExceeded when there are none."""
        left = self.at_s - self.clock()
        if left <= 0:
            raise DeadlineExceeded(_TOO_LATE)
        return left

    def earlier(self, by_s: float) -> "Deadline":
        return Deadline(self.at_s - by_s, self.clock)


async def within(deadline: Deadline, work: Awaitable[T]) -> T:
    """The result of `work`, or DeadlineExceeded, whichever is first."""
    try:
        async with asyncio.timeout(deadline.left_s()) as timeout:
            return await work
    except TimeoutError:
        if timeout.expired():
            raise DeadlineExceeded(_TOO_LATE) from None
        raise  # one of the work's own
    finally:
        if asyncio.iscoroutine(work):
            work.close()  # never begun, if there was no time at all
