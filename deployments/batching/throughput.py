"""Throughput of an engine, as it was measured.

Cost over busy time: the time in which at least one batch was computed, counted once however many
slots computed. Batches of several slots share an engine and may end together, so one batch's cost
over its own time says nothing; and the mean of rates would be above the rate of the whole.

Knows no engine and no queue: only the cost of batches and a clock.
"""

import math
from dataclasses import dataclass

from deployments.request.deadline import Clock

# Busy seconds after which a measurement counts for 1/e.
_MEMORY_S = 1.0
# An engine that was not kept busy for so long may have become faster: what else ran beside it has
# ended, say. Nothing is refused by an older measurement.
_VALID_S = 5.0


@dataclass(frozen=True, slots=True)
class Work:
    """Cost of batches that are done, and the busy seconds in which they were."""

    cost: float = 0.0
    busy_s: float = 0.0

    def since(self, earlier: "Work") -> "Work":
        return Work(self.cost - earlier.cost, self.busy_s - earlier.busy_s)


@dataclass(slots=True)
class _Window:
    """Cost and busy seconds, those of long ago forgotten."""

    cost: float = 0.0
    busy_s: float = 0.0

    @property
    def per_s(self) -> float:
        return self.cost / self.busy_s if self.busy_s else 0.0

    def add(self, work: Work) -> None:
        """Add work, of which a long stretch weighs no more than what is remembered: an engine that
        stopped for a while does not seem slow for as long again."""
        kept = math.exp(-work.busy_s / _MEMORY_S)
        weight = min(1.0, _MEMORY_S / work.busy_s) if work.busy_s else 1.0
        self.cost = kept * self.cost + weight * work.cost
        self.busy_s = kept * self.busy_s + weight * work.busy_s


class Throughput:
    """`begin` and `end` of every batch. `per_s` is 0 until the engine was once kept busy."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._running = 0
        self._counted_until_s = 0.0
        self._kept_busy_s = -math.inf
        self._is_trusted = False
        self._done = Work()
        self._last_ended = Work()
        self._last_saturated = Work()
        self._all = _Window()
        self._saturated = _Window()

    @property
    def per_s(self) -> float:
        """An engine that is not kept busy shows only what it does at least."""
        return max(self._saturated.per_s, self._all.per_s) if self._saturated.busy_s else 0.0

    def begin(self) -> Work:
        """Return what was done before this batch, for its `end`."""
        if not self._running:
            self._counted_until_s = self._clock()
            self._is_trusted &= self._is_recent()
        self._count(0.0)
        self._running += 1
        return self._done

    def fail(self) -> None:
        """Count nothing of a batch that failed; the time is that of others beside it."""
        self._running -= 1
        if self._running:
            self._count(0.0)
        else:
            self._counted_until_s = self._clock()

    def end(self, cost: float, before: Work, *, saturated: bool, more_waits: bool) -> None:
        """Count a batch that is done; `saturated` if the engine had about all it may be given.

        A saturated one counts with all that was done beside it since `before` it began, or since
        the last saturated one ended.
        """
        self._running -= 1
        self._count(cost)
        self._all.add(self._done.since(self._last_ended))
        self._last_ended = self._done
        if saturated:
            if not self._is_trusted:
                self._saturated = _Window()
            # Each moment counts once, of batches that end together too.
            since = max(before, self._last_saturated, key=lambda work: (work.busy_s, work.cost))
            self._saturated.add(self._done.since(since))
            self._last_saturated = self._done
            self._is_trusted = True
        if saturated or more_waits:
            self._kept_busy_s = self._counted_until_s

    def seconds_for(self, cost: float) -> float:
        """0 as long as nothing was measured lately: what is not known to be late is not refused."""
        trusted = self._is_trusted and (self._running or self._is_recent())
        return cost / self.per_s if trusted and self.per_s else 0.0

    def _count(self, cost: float) -> None:
        """Count what is done, and the time up to now as busy."""
        now_s = self._clock()
        busy_s, self._counted_until_s = now_s - self._counted_until_s, now_s
        self._done = Work(self._done.cost + cost, self._done.busy_s + busy_s)

    def _is_recent(self) -> bool:
        return self._clock() - self._kept_busy_s < _VALID_S
