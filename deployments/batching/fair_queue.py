"""Whose turn it is: fair shares of one engine between tenants, lanes and requests.

Three levels. Lanes are bands of priority, in which a lower lane still gets its floor. Inside a lane
tenants share by weight, by start-time fair queuing (Goyal, Vin and Cheng, SIGCOMM 1996): a tenant's
turn begins at max(virtual time, end of its last turn), a turn lasts tokens / weight, and the
earliest beginning goes first. Who had less than its share has credit for it, up to a limit: its
turn begins so much earlier, and what it sends now and then does not wait behind those who send all
the time. Inside a tenant the request goes first that would end first if all shared alike (weighted
fair queuing): equals go in order of arrival, one at a time, and a small one does not wait for a
large one. Virtual time goes on by tokens / weight of all who wait, because newcomers without end
would otherwise all go before one that has been waiting.

Pure: knows what waits only by its place in line and the tokens it was given.
"""

import heapq
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from deployments.request.origin import Lane, Origin

T = TypeVar("T")

# The part of the engine that a lane gets when higher lanes would take it all.
_FLOORS: dict[Lane, float] = {"interactive": 0.0, "default": 0.2, "bulk": 0.05}


@dataclass(slots=True)
class _Flow(Generic[T]):
    content: T
    weight: float
    begins: float = 0.0
    ends: float = 0.0


class _Turns(Generic[T]):
    """Start-time fair queuing over named flows. The flow at the head is the one to be charged."""

    def __init__(self) -> None:
        self._waiting: list[tuple[float, int, str]] = []
        self._flows: dict[str, _Flow[T]] = {}
        self._active: set[str] = set()
        self.weight = 0.0
        self._now = 0.0
        self._credit = 0.0
        self._arrivals = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def find(self, name: str) -> T | None:
        return self._flows[name].content if name in self._active else None

    def join(self, name: str, content: T, weight: float, credit: float) -> None:
        """A flow that is not waiting takes its place in line. It may have up to `credit` tokens of
        what it did not use of its share."""
        flow = self._flows.setdefault(name, _Flow(content, weight))
        flow.content, flow.weight = content, weight
        self._active.add(name)
        self.weight += weight
        self._arrivals += 1
        self._credit = credit
        flow.begins = self._begins(name, weight, credit)
        heapq.heappush(self._waiting, (flow.begins, self._arrivals, name))

    def credit_left(self, name: str, weight: float, credit: float) -> float:
        """How many tokens it may have before those whose turn it would be now."""
        waits = name in self._active
        begins = self._flows[name].begins if waits else self._begins(name, weight, credit)
        return max(0.0, (self._now - begins) * weight)

    def _begins(self, name: str, weight: float, credit: float) -> float:
        """When the turn of one that does not wait would begin."""
        flow = self._flows.get(name)
        return max(self._now - credit / weight, flow.ends if flow else 0.0)

    def head(self) -> T:
        return self._flows[self._waiting[0][2]].content

    def charge(self, tokens: int, *, leaves: bool) -> None:
        """The head was served `tokens`; it leaves, or takes its next turn."""
        begins, arrival, name = self._waiting[0]
        flow = self._flows[name]
        self._now = max(begins, self._now + tokens / self.weight)
        flow.begins = flow.ends = begins + tokens / flow.weight
        if not leaves:
            heapq.heapreplace(self._waiting, (flow.ends, arrival, name))
            if len(self._waiting) == 1:
                self._now = flow.ends  # alone it keeps nobody waiting, and no one owes it anything
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
                if name in self._active or flow.ends > self._now - self._credit / flow.weight
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
    """`push` what waits; `head` has the next turn; `serve` says how much of it was done.

    A tenant may have up to `credit_tokens` ahead of others, of what it did not use of its share.
    """

    def __init__(self) -> None:
        self.credit_tokens = 0.0
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

    def push(self, item: T, tokens: int, origin: Origin, turn_tokens: int = 0) -> None:
        """Of a tenant's items those under `turn_tokens` are equals, however small."""
        band = self._bands[origin.lane]
        tenant = band.tenants.find(origin.tenant)
        if tenant is None:
            tenant = _Tenant()
            band.tenants.join(origin.tenant, tenant, origin.weight, self.credit_tokens)
        tenant.requests.join(item, max(tokens, turn_tokens))
        tenant.tokens += tokens
        band.tokens += tokens

    def share(self, origin: Origin) -> float:
        """The part of its lane that the tenant gets, beside those who wait there now."""
        tenants = self._bands[origin.lane].tenants
        waits = tenants.find(origin.tenant) is not None
        return origin.weight / (tenants.weight + (0.0 if waits else origin.weight))

    def tokens_until_done(self, tokens: int, origin: Origin) -> float:
        """About how much is served until new work of `origin` is done, its own `tokens` included.

        That is all that its tenant has waiting in its lane, what the others' shares amount to
        meanwhile, but for what it has credit for, and the floors of lower lanes; and what waits in
        higher ones or, if that is less, what those take until its own lane had so much as its
        floor.
        """
        band = self._bands[origin.lane]
        tenant = band.tenants.find(origin.tenant)
        mine = tokens + (tenant.tokens if tenant else 0)
        credit = band.tenants.credit_left(origin.tenant, origin.weight, self.credit_tokens)
        shared = max(0.0, mine - credit)
        in_lane = min(band.tokens + tokens, mine - shared + shared / self.share(origin))
        bands, place = list(self._bands.values()), list(self._bands).index(origin.lane)
        higher = sum(one.tokens for one in bands[:place])
        lower = [one for one in bands[place + 1 :] if one.tokens]
        with_lower = min(
            in_lane + sum(one.tokens for one in lower),
            in_lane / (1 - sum(one.floor for one in lower)),
        )
        return min(higher + with_lower, in_lane / band.floor) if higher else with_lower

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
