"""Deadlines: late work is given up, and its own timeouts stay its own."""

import asyncio
import time

import pytest

from deployments.errors import DeadlineExceeded
from deployments.request.deadline import Deadline, within


async def test_work_that_takes_longer_is_given_up() -> None:
    with pytest.raises(DeadlineExceeded):
        await within(Deadline.after(0.01, time.monotonic), asyncio.sleep(10))


async def test_a_timeout_inside_the_work_is_not_the_deadlines() -> None:
    async def fails() -> None:
        raise TimeoutError("of a store")

    with pytest.raises(TimeoutError, match="of a store"):
        await within(Deadline.after(10, time.monotonic), fails())
