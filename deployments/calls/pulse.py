"""Whether a stage answers at all: a call that takes long may be long, or its replica stuck.

Asks by pings, which a replica answers at once whatever it is doing. Knows no Ray: how to ask, and
which replicas there are, is given.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import Context

from deployments.errors import DeadlineExceeded

_ANSWER_S = 2.0
# Two: if one goes to the replica that is stuck, the other goes where fewer calls are.
_PINGS = 2


class Pulse:
    """`running` gives the ids of the replicas that are to answer; a `ping` goes to one of them, and
    raises DeadlineExceeded if that does not answer within so many seconds.

    `was_silent` is what was found last, until a call is `answered`.
    """

    def __init__(
        self, ping: Callable[[float], Awaitable[object]], running: Callable[[], frozenset[str]]
    ) -> None:
        self._ping = ping
        self._running = running
        self._asking: asyncio.Task[bool] | None = None
        self.was_silent = False

    def answered(self) -> None:
        """Note that a replica answered a call."""
        self.was_silent = False

    def is_alone(self) -> bool:
        """Return whether another call could only go to the same replica."""
        return len(self._running()) < 2

    async def is_silent(self) -> bool:
        """Return whether no replica answered within two seconds, though the same are running.

        One that has ended is no longer running: what waits for the next one is not silent. But what
        was silent is so until a replica answers: who comes late need not wait for the next one too.
        Who asks while it is asked shares the answer.
        """
        if self._asking is None:
            # In no request's context: Serve would end it with that one's client.
            self._asking = asyncio.get_running_loop().create_task(self._ask(), context=Context())
            self._asking.add_done_callback(self._asked)
        return await asyncio.shield(self._asking)

    def _asked(self, _: asyncio.Task[bool]) -> None:
        self._asking = None

    async def _ask(self) -> bool:
        running = self._running()
        if not running and not self.was_silent:
            return False
        answered, late = await self._pings()
        if self.was_silent:
            self.was_silent = not answered
        else:
            self.was_silent = late and self._running() == running
        return self.was_silent

    async def _pings(self) -> tuple[bool, bool]:
        """Return whether a ping was answered, and whether none ended in time."""
        late = {asyncio.ensure_future(self._ping(_ANSWER_S)) for _ in range(_PINGS)}
        outcomes: list[object] = []
        answered = False
        while late and not answered:
            ended, late = await asyncio.wait(late, return_when=asyncio.FIRST_COMPLETED)
            outcomes += await asyncio.gather(*ended, return_exceptions=True)
            answered = any(not isinstance(one, BaseException) for one in outcomes)
            if not self.was_silent:
                break
            # One that fails at once went to a replica that has ended; another may have recovered.
        for one in late:
            one.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        return answered, all(isinstance(one, DeadlineExceeded) for one in outcomes)
