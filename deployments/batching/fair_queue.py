"""Fair queue: shares of one engine between tenants, lanes and requests.

Three levels. Lanes are bands of priority, in which a lower lane still gets its floor. Inside a lane
tenants share by weight, by start-time fair queuing (Goyal, Vin and Cheng, SIGCOMM 1996): a tenant's
turn begins at max(virtual time, end of its last turn), a turn lasts cost / weight, and the
earliest beginning goes first. Who had less than its share has credit for it, up to a limit: its
turn begins so much earlier, and what it sends now and then does not wait behind those who send all
the time. Inside a tenant and lane work goes in order of arrival, so that on arrival it is known
when it will be done. Virtual time goes on by cost / weight of all who wait, because newcomers
without end would otherwise all go before one that has been waiting.

Pure: knows what waits by its cost alone, in tokens for an engine, in milliseconds for a store.
"""

import heapq
from collections import deque
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
        """Put a flow that is not waiting in line, with up to `credit` of what it did not use of its
        share."""
        flow = self._flows.setdefault(name, _Flow(content, weight))
        flow.content, flow.weight = content, weight
        self._active.add(name)
        self.weight += weight
        self._arrivals += 1
        self._credit = credit
        flow.begins = self._begins(name, weight, credit)
        heapq.heappush(self._waiting, (flow.begins, self._arrivals, name))

    def leave(self, name: str) -> None:
        """Take a flow out of the line, wherever it stands."""
        self._waiting = [entry for entry in self._waiting if entry[2] != name]
        heapq.heapify(self._waiting)
        self._deactivate(name)

    def credit_left(self, name: str, weight: float, credit: float) -> float:
        """Cost that the flow may have before those whose turn it would be now."""
        waits = name in self._active
        begins = self._flows[name].begins if waits else self._begins(name, weight, credit)
        return max(0.0, (self._now - begins) * weight)

    def _begins(self, name: str, weight: float, credit: float) -> float:
        """Start of the turn of a flow that does not wait yet."""
        flow = self._flows.get(name)
        return max(self._now - credit / weight, flow.ends if flow else 0.0)

    def head(self) -> T:
        return self._flows[self._waiting[0][2]].content

    def charge(self, cost: float, *, leaves: bool) -> None:
        """Charge the head, which was served; it leaves, or takes its next turn."""
        begins, arrival, name = self._waiting[0]
        flow = self._flows[name]
        self._now = max(begins, self._now + cost / self.weight)
        flow.begins = flow.ends = begins + cost / flow.weight
        if not leaves:
            heapq.heapreplace(self._waiting, (flow.ends, arrival, name))
            if len(self._waiting) == 1:
                self._now = flow.ends  # alone it keeps nobody waiting, and no one owes it anything
            return
        heapq.heappop(self._waiting)
        self._deactivate(name)

    def _deactivate(self, name: str) -> None:
        self._active.discard(name)
        self.weight -= self._flows[name].weight
        self._forget()

    def _forget(self) -> None:
        """Drop flows without claim or debt; once nothing waits, no flow has either."""
        if not self._waiting:
            self._flows.clear()
            self._now = self.weight = 0.0
        elif len(self._flows) > 2 * len(self._active) + 64:
            self._flows = {
                name: flow
                for name, flow in self._flows.items()
                if name in self._active or flow.ends > self._now - self._credit / flow.weight
            }


@dataclass(slots=True)
class _Tenant(Generic[T]):
    """A tenant's work in one lane, in order of arrival; `uncharged` was served in a turn that goes
    on."""

    items: deque[T] = field(default_factory=deque)
    cost: float = 0.0
    uncharged: float = 0.0


@dataclass(slots=True)
class _Band(Generic[T]):
    floor: float
    tenants: _Turns[_Tenant[T]] = field(default_factory=_Turns)
    cost: float = 0.0
    owed: float = 0.0


class FairQueue(Generic[T]):
    """`push` work; `head` has the next turn; `serve` says how much of it was done.

    A tenant may have up to `credit` ahead of others, of what it did not use of its share.
    """

    def __init__(self) -> None:
        self.credit = 0.0
        self._bands: dict[Lane, _Band[T]] = {lane: _Band(floor) for lane, floor in _FLOORS.items()}

    def __bool__(self) -> bool:
        return any(len(band.tenants) for band in self._bands.values())

    @property
    def cost(self) -> float:
        """Cost of all that waits."""
        return sum(band.cost for band in self._bands.values())

    @property
    def lane_costs(self) -> dict[Lane, float]:
        return {lane: band.cost for lane, band in self._bands.items()}

    def push(self, item: T, cost: float, origin: Origin) -> None:
        band = self._bands[origin.lane]
        tenant = band.tenants.find(origin.tenant)
        if tenant is None:
            tenant = _Tenant()
            band.tenants.join(origin.tenant, tenant, origin.weight, self.credit)
        tenant.items.append(item)
        tenant.cost += cost
        band.cost += cost

    def remove(self, item: T, cost_left: float, origin: Origin) -> None:
        """Take out an item that waits, of which `cost_left` was not served; ValueError if it does
        not wait."""
        band = self._bands[origin.lane]
        tenant = band.tenants.find(origin.tenant)
        if tenant is None:
            raise ValueError("nothing of this tenant waits in this lane")
        tenant.items.remove(item)
        tenant.cost -= cost_left
        band.cost -= cost_left
        if tenant.items:
            return
        if tenant.uncharged:
            self._charge(band, tenant)
        else:
            band.tenants.leave(origin.tenant)

    def share(self, origin: Origin) -> float:
        """The tenant's part of its lane, in (0, 1], beside those who wait there now."""
        tenants = self._bands[origin.lane].tenants
        waits = tenants.find(origin.tenant) is not None
        return origin.weight / (tenants.weight + (0.0 if waits else origin.weight))

    def cost_until_done(self, cost: float, origin: Origin) -> float:
        """About how much is served until new work of `origin` is done, its own `cost` included.

        It waits for all that its tenant has waiting in its lane, for the others' shares meanwhile
        but for what it has credit for, and for the floors of lower lanes. Of higher lanes it waits
        for all work or, if that is less, for what they take until its own lane has had so much as
        its floor.
        """
        band = self._bands[origin.lane]
        tenant = band.tenants.find(origin.tenant)
        mine = cost + (tenant.cost if tenant else 0)
        credit = band.tenants.credit_left(origin.tenant, origin.weight, self.credit)
        shared = max(0.0, mine - credit)
        in_lane = min(band.cost + cost, mine - shared + shared / self.share(origin))
        bands, place = list(self._bands.values()), list(self._bands).index(origin.lane)
        higher = sum(one.cost for one in bands[:place])
        lower = [one for one in bands[place + 1 :] if one.cost]
        with_lower = min(
            in_lane + sum(one.cost for one in lower),
            in_lane / (1 - sum(one.floor for one in lower)),
        )
        return min(higher + with_lower, in_lane / band.floor) if higher else with_lower

    def head(self) -> T:
        """The item that has the next turn; IndexError when nothing waits."""
        return self._next_band().tenants.head().items[0]

    def serve(self, cost: float, *, leaves: bool, turn_ends: bool = True) -> None:
        """Charge the head for `cost` of the engine. Unless the turn ends, the tenant's next item is
        the head, if there is one."""
        band = self._next_band()
        tenant = band.tenants.head()
        if leaves:
            tenant.items.popleft()
        tenant.cost -= cost
        band.cost -= cost
        tenant.uncharged += cost
        if turn_ends or not tenant.items:
            self._charge(band, tenant)

    def end_turn(self) -> None:
        """End the turn that `serve` has left open, if there is one."""
        if self:
            band = self._next_band()
            tenant = band.tenants.head()
            if tenant.uncharged:
                self._charge(band, tenant)

    def _charge(self, band: _Band[T], head: _Tenant[T]) -> None:
        cost, head.uncharged = head.uncharged, 0.0
        band.tenants.charge(cost, leaves=not head.items)
        self._pay(band, cost)

    def _next_band(self) -> _Band[T]:
        waiting = [band for band in self._bands.values() if len(band.tenants)]
        return next((band for band in reversed(waiting) if band.owed > 0), waiting[0])

    def _pay(self, served: _Band[T], cost: float) -> None:
        """Owe a lane that waits behind a higher one its floor; it pays with its turns."""
        higher_waits = False
        for band in self._bands.values():
            if not higher_waits or not len(band.tenants):
                band.owed = 0.0
            else:
                band.owed += cost * (band.floor - (band is served))
            higher_waits |= bool(len(band.tenants)) or band is served
