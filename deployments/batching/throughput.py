"""Throughput of an engine, as it was measured.

Cost over busy time: the time in which at least one batch was computed, counted once however many
slots computed. Batches of several slots share an engine and may end together, so one batch's cost
over its own time says nothing; and the mean of rates would be above the rate of the whole.

Knows no engine and no queue: only the cost of batches and a clock.
"""

import math
from dataclasses import dataclass, replace

from deployments.request.deadline import Clock

# Busy seconds after which a measurement counts for 1/e.
_MEMORY_S = 1.0
# An engine that was not kept busy for so long may have become faster: what else ran beside it has
# ended, say. Nothing is refused by an older measurement.
_VALID_S = 5.0


@dataclass(slots=True)
class _Window:
    """Cost and busy seconds, those of long ago forgotten."""

    cost: float = 0.0
    busy_s: float = 0.0

    @property
    def per_s(self) -> float:
        return self.cost / self.busy_s if self.busy_s else 0.0

    def add(self, cost: float, busy_s: float) -> None:
        kept = math.exp(-busy_s / _MEMORY_S)
        self.cost = kept * self.cost + cost
        self.busy_s = kept * self.busy_s + busy_s


class Throughput:
    """`begin` and `end` of every batch. `per_s` is 0 until the engine was once kept busy."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._running = 0
        self._counted_until_s = 0.0
        self._kept_busy_s = -math.inf
        self._is_trusted = False
        self._all = _Window()
        self._since_idle = _Window()
        self._saturated = _Window()

    @property
    def per_s(self) -> float:
        """An engine that is not kept busy shows only what it does at least."""
        return max(self._saturated.per_s, self._all.per_s) if self._saturated.busy_s else 0.0

    def begin(self) -> None:
        if not self._running:
            self._counted_until_s = self._clock()
            self._since_idle = _Window()
            self._is_trusted &= self._is_recent()
        self._running += 1

    def fail(self) -> None:
        """Count nothing of a batch that failed: its time says nothing of the engine."""
        self._running -= 1
        self._counted_until_s = self._clock()

    def end(self, cost: float, *, saturated: bool, more_waits: bool) -> None:
        """Count a batch that is done; `saturated` if the engine had about all it may be given."""
        now_s = self._clock()
        busy_s, self._counted_until_s = now_s - self._counted_until_s, now_s
        self._running -= 1
        self._all.add(cost, busy_s)
        self._since_idle.add(cost, busy_s)
        if saturated and not self._is_trusted:
            # Not of this batch alone: most of its time was counted with those that ended before.
            self._saturated = replace(self._since_idle)
            self._is_trusted = True
        elif saturated:
            self._saturated.add(cost, busy_s)
        if saturated or more_waits:
            self._kept_busy_s = now_s

    def seconds_for(self, cost: float) -> float:
        """0 as long as nothing was measured lately: what is not known to be late is not refused."""
        trusted = self._is_trusted and (self._running or self._is_recent())
        return cost / self.per_s if trusted and self.per_s else 0.0

    def _is_recent(self) -> bool:
        return self._clock() - self._kept_busy_s < _VALID_S
