"""Concurrency slots of one process, shared among its tenants by weight.

However slow the stages behind it are, a Router must not hold more requests than it has memory for,
and one tenant must not keep another from its share. A request takes a slot, a large one several. A
tenant alone may hold all slots. A newcomer gets its share immediately, so the total may exceed the
limit until the others have come down to their shares; but not for a request that is larger than its
share, which waits until there is room.

Pure: counts, and knows neither requests nor time.
"""

from dataclasses import dataclass

from deployments.errors import Overloaded


@dataclass(slots=True)
class _Share:
    weight: float
    requests: int = 0
    slots: int = 0


class ConcurrencySlots:
    """A weighted semaphore. `total` may be changed at any time."""

    def __init__(self, total: int) -> None:
        self.total = total
        self._shares: dict[str, _Share] = {}
        self._weight = 0.0

    def held(self, tenant: str) -> int:
        """Return the number of requests the tenant has slots for."""
        share = self._shares.get(tenant)
        return share.requests if share else 0

    def acquire(self, tenant: str, weight: float, slots: int = 1) -> None:
        """Take slots for a request; the caller must call `release`. Raises Overloaded over the
        tenant's share."""
        share = self._shares.get(tenant) or _Share(weight)
        weights = self._weight + (0.0 if share.requests else share.weight)
        fits = share.slots + slots - 1 < self.total * share.weight / weights
        if not fits and (share.requests or self._taken() + slots > self.total):
            raise Overloaded(
                "as many of this tenant's requests are under way as there is room for: try again"
                " shortly"
            )
        share.requests += 1
        share.slots += slots
        self._shares[tenant] = share
        self._weight = weights

    def release(self, tenant: str, slots: int = 1) -> None:
        share = self._shares[tenant]
        share.requests -= 1
        share.slots -= slots
        if not share.requests:
            del self._shares[tenant]
            # Summed anew: subtracting would let rounding errors add up.
            self._weight = sum(other.weight for other in self._shares.values())

    def _taken(self) -> int:
        return sum(share.slots for share in self._shares.values())
