"""Concurrency slots of one process, shared among its tenants by weight.

However slow the stages behind it are, a Router must not hold more requests than it has memory for,
and one tenant must not keep another from its share. A tenant alone may hold all slots. A newcomer
gets its share immediately, so the total may exceed the limit until the others have come down to
their shares.

Pure: counts, and knows neither requests nor time.
"""

from dataclasses import dataclass

from deployments.errors import Overloaded


@dataclass(slots=True)
class _Share:
    weight: float
    held: int = 0


class ConcurrencySlots:
    """A weighted semaphore. `total` may be changed at any time."""

    def __init__(self, total: int) -> None:
        self.total = total
        self._shares: dict[str, _Share] = {}
        self._weight = 0.0

    def held(self, tenant: str) -> int:
        """Return the number of slots the tenant holds."""
        share = self._shares.get(tenant)
        return share.held if share else 0

    def acquire(self, tenant: str, weight: float) -> None:
        """Take a slot; the caller must call `release`. Raises Overloaded over its share."""
        share = self._shares.get(tenant) or _Share(weight)
        weights = self._weight + (0.0 if share.held else share.weight)
        if share.held >= self.total * share.weight / weights:
            raise Overloaded(
                "as many of this tenant's requests are under way as there is room for: try again"
                " shortly"
            )
        share.held += 1
        self._shares[tenant] = share
        self._weight = weights

    def release(self, tenant: str) -> None:
        share = self._shares[tenant]
        share.held -= 1
        if not share.held:
            del self._shares[tenant]
            # Summed anew: subtracting would let rounding errors add up.
            self._weight = sum(other.weight for other in self._shares.values())
