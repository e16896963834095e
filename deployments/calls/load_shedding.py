"""Load shedding in the Router: a stage that has just refused work would refuse it again.

A stage says of a call that it refuses how late it would have been. Work of the same tenant and lane
that has no more time, for what it costs more or less than what was refused, is refused here, before
its text is tokenised and without a call. Work that is let in meanwhile takes the room that was
found for it, and work that is given up leaves its own. How busy the stage is nobody here knows: a
refusal is forgotten long before the stage can have run out of work, and then the stage is asked
again.

Retry-After values form a virtual queue: each refused caller gets a time after the callers refused
before it, so that all who come when they were told find room.

Pure: counts on the clock of the deadlines it is given.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from cachetools import LRUCache

from deployments.batching.batcher import TIME_TO_USE
from deployments.errors import Overloaded
from deployments.request.deadline import Deadline
from deployments.request.origin import Origin

_KNOWN_S = 1.0
_KNOWN_PART = 0.25  # of the time that the refused had
_LONGEST_RETRY_S = 30.0
_MOST_ORIGINS = 1_000


@dataclass(slots=True)
class _Refused:
    """A call of `cost` would be done at `done_s`; this holds until `until_s`. The next caller to be
    refused is told to come so that it is done at `retry_s`; a unit of cost more takes `unit_s`."""

    cost: float
    done_s: float
    until_s: float
    retry_s: float
    unit_s: float


class LoadShedding:
    """Refusals of one stage."""

    def __init__(self) -> None:
        self._refused: LRUCache[Origin, _Refused] = LRUCache(_MOST_ORIGINS)

    def check(self, cost: float, deadline: Deadline, origin: Origin) -> None:
        """Raises Overloaded if the stage would refuse work of about this cost; else the work goes
        to the stage."""
        known = self._refused.get(origin)
        if known is None or deadline.clock() >= known.until_s:
            return
        if _usable_until_s(deadline) <= known.done_s + (cost - known.cost) * known.unit_s:
            raise _retry_later(known, cost, deadline)
        known.done_s += cost * known.unit_s

    def note(
        self, refusal: Overloaded, cost: float, deadline: Deadline, origin: Origin
    ) -> Overloaded:
        """Remember that the stage has refused a call; returns the error to answer with."""
        if refusal.retry_after_s is None or refusal.unit_s is None:
            return refusal
        now_s = deadline.clock()
        done_s = _usable_until_s(deadline) + refusal.retry_after_s
        before = self._refused.get(origin)
        retry_s = max(done_s, before.retry_s) if before else done_s
        known_s = min(_KNOWN_S, _KNOWN_PART * (deadline.at_s - now_s))
        known = _Refused(cost, done_s, now_s + known_s, retry_s, refusal.unit_s)
        self._refused[origin] = known
        return _retry_later(known, cost, deadline)

    @contextmanager
    def noting(self, cost: float, deadline: Deadline, origin: Origin) -> Iterator[None]:
        """Remember a refusal of the work that is asked for within; raise what to answer with."""
        try:
            yield
        except Overloaded as refusal:
            raise self.note(refusal, cost, deadline, origin) from None

    def give_up(self, cost: float, origin: Origin) -> None:
        """Work of this cost, which the stage had taken, leaves its room to others."""
        if known := self._refused.get(origin):
            known.done_s -= cost * known.unit_s


def _usable_until_s(deadline: Deadline) -> float:
    """When a stage has to expect that it is done, or it refuses."""
    now_s = deadline.clock()
    return now_s + TIME_TO_USE * (deadline.at_s - now_s)


def _retry_later(known: _Refused, cost: float, deadline: Deadline) -> Overloaded:
    known.retry_s = max(known.retry_s, known.done_s)  # others were let in since
    late_s = max(0.0, known.retry_s - _usable_until_s(deadline))
    if late_s < _LONGEST_RETRY_S:
        known.retry_s += cost * known.unit_s
    return Overloaded(
        "more of this tenant's work waits than can be done in the time that is left: try again"
        f" in {late_s:.1f} s, send less, or allow more with deadline_ms",
        retry_after_s=late_s,
        unit_s=known.unit_s,
    )
