"""The deadline of a request, over all its stages.

The clock is passed in (monotonic seconds), so that tests and the simulator control time. Between
processes a deadline travels as the seconds left, because their clocks differ. Knows no stage.
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
        """Return the seconds left. Raises DeadlineExceeded if there are none."""
        left = self.at_s - self.clock()
        if left <= 0:
            raise DeadlineExceeded(_TOO_LATE)
        return left

    def is_over(self) -> bool:
        return self.clock() >= self.at_s

    def earlier(self, by_s: float) -> "Deadline":
        return Deadline(self.at_s - by_s, self.clock)


async def within(deadline: Deadline, work: Awaitable[T]) -> T:
    """Await `work` until the deadline. Raises DeadlineExceeded after it."""
    try:
        async with asyncio.timeout(deadline.left_s()) as timeout:
            return await work
    except TimeoutError:
        if timeout.expired():
            raise DeadlineExceeded(_TOO_LATE) from None
        raise  # a timeout inside the work
    finally:
        if asyncio.iscoroutine(work):
            work.close()  # if no time was left, it was never awaited
