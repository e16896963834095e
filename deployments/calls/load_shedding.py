"""What a stage has just refused, it would refuse again: remembered, so that it need not be asked.

A stage says of a call that it refuses how late it would have been. Calls are about equal (see
`packer`), so what the same tenant and lane have that allows no more time is refused here, before
its text is read and without a call. What is let in meanwhile takes the room that was found for it.
How busy the stage is nobody here knows: what is remembered is forgotten long before the stage can
have run out of work, and then it is asked again.

When to come again follows from a line in which those who were refused stand: each is told a time at
which those before it have had theirs, so that all who come when they were told find room.

Pure: counts on the clock of the deadlines it is given.
"""

from dataclasses import dataclass

from deployments.errors import Overloaded
from deployments.request.deadline import Deadline
from deployments.request.origin import Origin

_KNOWN_S = 1.0
_KNOWN_PART = 0.25  # of the time that the refused had
_LONGEST_LINE_S = 30.0
_MOST_ORIGINS = 1_000


@dataclass(slots=True)
class _Refused:
    """The next call would be done at `done_s`, which holds `until_s`; who is refused next has room
    for it at `line_s`, and a token more takes `token_s`."""

    done_s: float
    until_s: float
    line_s: float
    token_s: float


class Refusals:
    """Of one stage."""

    def __init__(self) -> None:
        self._refused: dict[Origin, _Refused] = {}

    def check(self, tokens: float, deadline: Deadline, origin: Origin) -> None:
        """Of work of about so many `tokens`, that is to go to the stage if this does not raise
        Overloaded, because it would be refused there."""
        known = self._refused.get(origin)
        if known is None or deadline.clock() >= known.until_s:
            return
        if deadline.at_s <= known.done_s:
            raise _line_up(known, tokens, deadline)
        known.done_s += tokens * known.token_s

    def note(
        self, refusal: Overloaded, tokens: int, deadline: Deadline, origin: Origin
    ) -> Overloaded:
        """The stage has refused a call; returns what to say of it."""
        if refusal.retry_after_s is None or refusal.token_s is None:
            return refusal
        now_s = deadline.clock()
        done_s = deadline.at_s + refusal.retry_after_s
        before = self._refused.pop(origin, None)
        line_s = max(done_s, before.line_s) if before else done_s
        known_s = min(_KNOWN_S, _KNOWN_PART * (deadline.at_s - now_s))
        known = _Refused(done_s, now_s + known_s, line_s, refusal.token_s)
        self._forget(now_s)
        self._refused[origin] = known
        return _line_up(known, tokens, deadline)

    def _forget(self, now_s: float) -> None:
        """Those whose line has gone, when there are many."""
        if len(self._refused) >= _MOST_ORIGINS:
            self._refused = {
                origin: one for origin, one in self._refused.items() if one.line_s > now_s
            }


def _line_up(known: _Refused, tokens: float, deadline: Deadline) -> Overloaded:
    known.line_s = max(known.line_s, known.done_s)  # others were let in since
    late_s = max(0.0, known.line_s - deadline.at_s)
    if late_s < _LONGEST_LINE_S:
        known.line_s += tokens * known.token_s
    return Overloaded(
        "more of this tenant's work waits than can be done in the time that is left: try again"
        f" in {late_s:.1f} s, send less, or allow more with deadline_ms",
        retry_after_s=late_s,
        token_s=known.token_s,
    )
