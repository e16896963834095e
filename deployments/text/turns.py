"""Turns: one piece of work of each origin at a time, in order of arrival. Knows no tokenizer."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary

from deployments.request.origin import Origin


class Turns:
    def __init__(self) -> None:
        # One that nobody holds or waits for is forgotten.
        self._locks: WeakValueDictionary[Origin, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def of(self, origin: Origin) -> AsyncIterator[None]:
        """Wait for the turn of `origin`, in order of arrival, and hold it."""
        lock = self._locks.get(origin)
        if lock is None:
            lock = self._locks[origin] = asyncio.Lock()
        async with lock:
            yield
