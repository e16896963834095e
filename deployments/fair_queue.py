"""Whose turn it is: fair shares of one engine between tenants, lanes and requests.

Three levels. Lanes are bands of priority, in which a lower lane still gets its floor. Inside a lane
tenants share by weight, by start-time fair queuing (Goyal, Vin and Cheng, SIGCOMM 1996): a tenant's
turn begins at max(virtual time, end of its last turn), a turn lasts tokens / weight, and the
earliest beginning goes first. Inside a tenant the request goes first that would end first if all
shared alike (weighted fair queuing): equals go in order of arrival, one at a time, and a small one
does not wait for a large one. Virtual time goes on by tokens / weight of all who wait, because
newcomers without end would otherwise all go before one that has been waiting.

Pure: knows what waits only by its place in line and the tokens it was given.
"""

import heapq
from dataclasses import dataclass, field
from typing import Generic, Literal, TypeVar

T = TypeVar("T")

Lane = Literal["interactive", "default", "bulk"]

# The part of the engine that a lane gets when higher lanes would take it all.
_FLOORS: dict[Lane, float] = {"interactive": 0.0, "default": 0.2, "bulk": 0.05}


@dataclass(frozen=True, slots=True)
class Origin:
    """Whose work it is. A tenant of weight 2 gets twice the share of one of weight 1."""

    tenant: str
    lane: Lane = "default"
    weight: float = 1.0


@dataclass(slots=True)
class _Flow(Generic[T]):
    content: T
    weight: float
    ends: float = 0.0


class _Turns(Generic[T]):
    """Start-time fair queuing over named flows. The flow at the head is the one to be charged."""

    def __init__(self) -> None:
        self._waiting: list[tuple[float, int, str]] = []
        self._flows: dict[str, _Flow[T]] = {}
        self._active: set[str] = set()
        self.weight = 0.0
        self._now = 0.0
        self._arrivals = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def find(self, name: str) -> T | None:
        return self._flows[name].content if name in self._active else None

    def join(self, name: str, content: T, weight: float) -> None:
        """A flow that is not waiting takes its place in line."""
        flow = self._flows.setdefault(name, _Flow(content, weight))
        flow.content, flow.weight = content, weight
        self._active.add(name)
        self.weight += weight
        self._arrivals += 1
        heapq.heappush(self._waiting, (max(self._now, flow.ends), self._arrivals, name))

    def head(self) -> T:
        return self._flows[self._waiting[0][2]].content

    def charge(self, tokens: int, *, leaves: bool) -> None:
        """The head was served `tokens`; it leaves, or takes its next turn."""
        begins, arrival, name = self._waiting[0]
        flow = self._flows[name]
        self._now = max(begins, self._now + tokens / self.weight)
        flow.ends = begins + tokens / flow.weight
        if not leaves:
            heapq.heapreplace(self._waiting, (flow.ends, arrival, name))
            return
        heapq.heappop(self._waiting)
        self._active.discard(name)
        self.weight -= flow.weight
        self._forget()

    def _forget(self) -> None:
        """What left long enough ago has no claim and no debt; when all are gone, nor has anyone."""
        if not self._waiting:
            self._flows.clear()
            self._now = self.weight = 0.0
        elif len(self._flows) > 2 * len(self._active) + 64:
            self._flows = {
                name: flow
                for name, flow in self._flows.items()
                if name in self._active or flow.ends > self._now
            }


class _Requests(Generic[T]):
    """A tenant's requests, by when each would end if all shared alike."""

    def __init__(self) -> None:
        self._waiting: list[tuple[float, int, T]] = []
        self._now = 0.0
        self._arrivals = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def join(self, item: T, tokens: int) -> None:
        self._arrivals += 1
        heapq.heappush(self._waiting, (self._now + tokens, self._arrivals, item))

    def head(self) -> T:
        return self._waiting[0][2]

    def charge(self, tokens: int, *, leaves: bool) -> None:
        self._now += tokens / len(self._waiting)
        if leaves:
            heapq.heappop(self._waiting)


@dataclass(slots=True)
class _Tenant(Generic[T]):
    requests: _Requests[T] = field(default_factory=_Requests)
    tokens: int = 0


@dataclass(slots=True)
class _Band(Generic[T]):
    floor: float
    tenants: _Turns[_Tenant[T]] = field(default_factory=_Turns)
    tokens: int = 0
    owed: float = 0.0


class FairQueue(Generic[T]):
    """`push` what waits; `head` has the next turn; `serve` says how much of it was done."""

    def __init__(self) -> None:
        self._bands: dict[Lane, _Band[T]] = {lane: _Band(floor) for lane, floor in _FLOORS.items()}

    def __bool__(self) -> bool:
        return any(len(band.tenants) for band in self._bands.values())

    @property
    def tokens(self) -> int:
        """All that waits."""
        return sum(band.tokens for band in self._bands.values())

    @property
    def lane_tokens(self) -> dict[Lane, int]:
        return {lane: band.tokens for lane, band in self._bands.items()}

    def push(self, item: T, tokens: int, origin: Origin) -> None:
        band = self._bands[origin.lane]
        tenant = band.tenants.find(origin.tenant)
        if tenant is None:
            tenant = _Tenant()
            band.tenants.join(origin.tenant, tenant, origin.weight)
        tenant.requests.join(item, tokens)
        tenant.tokens += tokens
        band.tokens += tokens

    def ahead_tokens(self, origin: Origin) -> float:
        """About how much is served before new work of `origin` has its turn: what waits in higher
        lanes, and in its own as much as the others' shares amount to until its turn comes."""
        lanes = list(self._bands)
        higher = sum(self._bands[lane].tokens for lane in lanes[: lanes.index(origin.lane)])
        band = self._bands[origin.lane]
        tenant = band.tenants.find(origin.tenant)
        if tenant is None:
            return higher
        return higher + min(band.tokens, tenant.tokens * band.tenants.weight / origin.weight)

    def head(self) -> T:
        """What has the next turn; IndexError when nothing waits."""
        return self._next_band().tenants.head().requests.head()

    def serve(self, tokens: int, *, leaves: bool, dropped_tokens: int = 0) -> None:
        """The head was given `tokens` of the engine. If it leaves, `dropped_tokens` of it were
        never computed."""
        band = self._next_band()
        tenant = band.tenants.head()
        tenant.requests.charge(tokens, leaves=leaves)
        tenant.tokens -= tokens + dropped_tokens
        band.tokens -= tokens + dropped_tokens
        band.tenants.charge(tokens, leaves=not len(tenant.requests))
        self._pay(band, tokens)

    def _next_band(self) -> _Band[T]:
        waiting = [band for band in self._bands.values() if len(band.tenants)]
        return next((band for band in reversed(waiting) if band.owed > 0), waiting[0])

    def _pay(self, served: _Band[T], tokens: int) -> None:
        """A lane that waits behind a higher one is owed its floor, and pays with its turns."""
        higher_waits = False
        for band in self._bands.values():
            if not higher_waits or not len(band.tenants):
                band.owed = 0.0
            else:
                band.owed += tokens * (band.floor - (band is served))
            higher_waits |= bool(len(band.tenants)) or band is served
