"""Requests under way in one process: how many there may be, in fair shares of its tenants.

Whatever is slow behind it, a Router must not take in more than it can hold, and a tenant that fills
its share must not keep another from its own. A tenant alone may have all places; a newcomer gets
its share at once, and for so long there are more under way than slots, until those over their
share have come down to it.

Pure: counts, and knows neither requests nor time.
"""

from dataclasses import dataclass

from deployments.errors import Overloaded


@dataclass(slots=True)
class _Taken:
    weight: float
    count: int = 0


class ConcurrencySlots:
    """`total` may be turned at any time."""

    def __init__(self, total: int) -> None:
        self.total = total
        self._tenants: dict[str, _Taken] = {}
        self._weight = 0.0

    def held(self, tenant: str) -> int:
        """How many it has now."""
        taken = self._tenants.get(tenant)
        return taken.count if taken else 0

    def acquire(self, tenant: str, weight: float) -> None:
        """Raises Overloaded. Otherwise `release` is owed."""
        taken = self._tenants.get(tenant) or _Taken(weight)
        weights = self._weight + (0.0 if taken.count else taken.weight)
        if taken.count >= self.total * taken.weight / weights:
            raise Overloaded(
                "as many of this tenant's requests are under way as there is room for: try again"
                " shortly"
            )
        taken.count += 1
        self._tenants[tenant] = taken
        self._weight = weights

    def release(self, tenant: str) -> None:
        taken = self._tenants[tenant]
        taken.count -= 1
        if not taken.count:
            del self._tenants[tenant]
            self._weight = sum(one.weight for one in self._tenants.values())
