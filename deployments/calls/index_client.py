"""The Index deployment as a Router sees it.

Its methods are those of the Index. Searches of one tenant that come together share a call. A store
that does not answer is left alone for some seconds, and nobody waits for it meanwhile; nor for an
Index whose replicas are all stuck.

What may be done twice with the same result is also asked of another replica when one takes long:
an upsert writes the same documents again. A deletion answers how many went, and is asked for once;
where no replica has a pulse it ends as others do, although it may have been done.
"""

import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from ray.serve.handle import DeploymentHandle

from deployments.calls.call_batches import CallBatches
from deployments.calls.client import StageClient, T
from deployments.calls.hedging import Hedging
from deployments.calls.load_shedding import LoadShedding
from deployments.calls.pulse import Pulse
from deployments.errors import StageSilent, StoreUnavailable, WinnowError
from deployments.request.deadline import Clock, Deadline, within
from deployments.request.origin import Origin
from deployments.rows.searches import Retrieved, SearchAnswers, Searches
from deployments.stores.base import Collection, Filter, IndexSearch, Namespace, Page, Record
from deployments.stores.breaker import StoreBreaker

_CALLS_AT_ONCE = 1
_SEARCHES_A_CALL = 64
_ONCE = ("drop", "delete")


class IndexClient(StageClient):
    """`clock` is that of the deadlines."""

    def __init__(
        self, stage: str, handle: DeploymentHandle[Any], clock: Clock = time.monotonic
    ) -> None:
        super().__init__(stage, handle)
        self._clock = clock
        self._breaker = StoreBreaker(clock)
        self._batches = CallBatches(self._search, _CALLS_AT_ONCE, _SEARCHES_A_CALL)
        self._shedding = LoadShedding()
        pulse = Pulse(self._ping, self.running)
        # By method: each takes its own time.
        self._hedging: defaultdict[str, Hedging] = defaultdict(lambda: Hedging(clock, pulse))
        self._hedging |= {one: Hedging(clock, pulse, most_tries=1) for one in _ONCE}

    def admit(self, deadline: Deadline, origin: Origin) -> None:
        """Raises Overloaded or StoreUnavailable if a search is sure to be refused."""
        self._breaker.check()
        self._shedding.check(1, deadline, origin)

    async def call(self, method: str, *args: Any, deadline: Deadline) -> Any:
        self._breaker.check()
        return await self._first(
            method, partial(super().call, method, *args, deadline=deadline), deadline
        )

    async def call_if_alive(self, method: str, *args: Any, deadline: Deadline) -> Any:
        self._breaker.check()
        return await self._first(
            method, partial(super().call_if_alive, method, *args, deadline=deadline), deadline
        )

    async def call_once(self, method: str, *args: Any, deadline: Deadline) -> Any:
        with self._breaker.guard():
            return await super().call_once(method, *args, deadline=deadline)

    async def _first(self, method: str, call: Callable[[], Awaitable[T]], deadline: Deadline) -> T:
        """The first answer of one replica or another; StoreUnavailable if none has a pulse."""
        try:
            return await within(deadline, self._hedging[method].first(call))
        except StageSilent:
            self._breaker.fail()
            raise StoreUnavailable("the index does not answer") from None

    async def _ping(self, within_s: float) -> None:
        await super().call_once("ping", deadline=Deadline.after(within_s, self._clock))

    async def search(self, search: IndexSearch, deadline: Deadline, origin: Origin) -> Retrieved:
        rows = Searches.of([search])
        found = await within(deadline, self._batches.submit(rows, deadline, origin))
        if found.answers[0] is None:  # no room beside the others' answers
            found = await within(deadline, self._search(rows, deadline, origin))
        [hits] = found.answers
        if isinstance(hits, WinnowError):
            raise hits
        return Retrieved(hits or [], found.runs)

    async def _search(self, rows: Searches, deadline: Deadline, origin: Origin) -> SearchAnswers:
        async def call() -> SearchAnswers:
            called_s = self._clock()
            answer: SearchAnswers = await self.call_once(
                "search", rows.searches, deadline.left_s(), origin, deadline=deadline
            )
            return answer.placed(called_s, self._clock())

        async def first() -> SearchAnswers:
            return await self._first("search", lambda: self.persist(call, deadline), deadline)

        self._breaker.check()
        with self._shedding.noting(len(rows), deadline, origin):
            return await self.ask_another(first)

    async def ensure(
        self, ns: Namespace, dimensions: int, fingerprint: str, deadline: Deadline
    ) -> bool:
        made: bool = await self.call("ensure", ns, dimensions, fingerprint, deadline=deadline)
        return made

    async def describe(self, ns: Namespace, deadline: Deadline) -> Collection:
        found: Collection = await self.call("describe", ns, deadline=deadline)
        return found

    async def collections(self, tenant: str, deadline: Deadline) -> list[Collection]:
        found: list[Collection] = await self.call("collections", tenant, deadline=deadline)
        return found

    async def drop(self, ns: Namespace, deadline: Deadline) -> None:
        await self.call_if_alive("drop", ns, deadline=deadline)

    async def check(self, ns: Namespace, fingerprint: str, deadline: Deadline) -> None:
        await self.call("check", ns, fingerprint, deadline=deadline)

    async def upsert(
        self, ns: Namespace, records: Sequence[Record], fingerprint: str, deadline: Deadline
    ) -> None:
        await self.call("upsert", ns, records, fingerprint, deadline=deadline)

    async def delete(
        self, ns: Namespace, ids: Sequence[str] | None, where: Filter | None, deadline: Deadline
    ) -> int:
        gone: int = await self.call_if_alive("delete", ns, ids, where, deadline=deadline)
        return gone

    async def get(
        self, ns: Namespace, ids: Sequence[str], deadline: Deadline
    ) -> list[Record | None]:
        found: list[Record | None] = await self.call("get", ns, ids, deadline=deadline)
        return found

    async def count_new(self, ns: Namespace, ids: Sequence[str], deadline: Deadline) -> int:
        new: int = await self.call("count_new", ns, ids, deadline=deadline)
        return new

    async def scan(self, ns: Namespace, cursor: str | None, limit: int, deadline: Deadline) -> Page:
        page: Page = await self.call("scan", ns, cursor, limit, deadline=deadline)
        return page

    async def status(self, deadline: Deadline) -> str:
        # Beside the breaker: a store that takes no writes may well answer searches.
        ask = partial(super().call_once, "status", deadline=deadline)
        durability: str = await self.persist(ask, deadline)
        return durability
