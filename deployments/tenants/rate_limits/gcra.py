"""The generic cell rate algorithm (GCRA): the leaky bucket as a meter.

The whole state of a name is its theoretical arrival time (TAT): the time at which all that was
taken will have come back. Pure: knows no clock and no backend.
"""

import math

from deployments.tenants.rate_limits.limiter import RateDecision

_MINUTE_S = 60.0


def decide(
    tat_s: float | None, now_s: float, cost: int, per_min: int
) -> tuple[RateDecision, float]:
    """Decide on taking `cost` at `now_s`. Return the decision, and the TAT if it was granted.

    `tat_s` is the name's TAT, None before its first. Both times are seconds on the same clock.
    """
    interval_s = _MINUTE_S / per_min
    full_s = max(now_s, tat_s or now_s)
    used = -math.floor((now_s - full_s) / interval_s)
    left = per_min - used
    if cost > left:
        retry_s = full_s - now_s - (per_min - cost) * interval_s
        return RateDecision(False, per_min, max(0, left), full_s - now_s, retry_s), full_s
    full_s += cost * interval_s
    return RateDecision(True, per_min, left - cost, full_s - now_s, 0.0), full_s


def returned(tat_s: float, cost: int, per_min: int) -> float:
    """Return the TAT after `cost` of what was taken is given back."""
    return tat_s - cost * _MINUTE_S / per_min
