"""OpenAI's rate-limit headers, from the plan's limits as they stand after a request."""

import math

from deployments.tenants.admission import Admitted


def limit_headers(call: Admitted) -> dict[str, str]:
    """Return `x-ratelimit-{limit,remaining,reset}-{requests,tokens}` for the units that the plan
    limits."""
    headers = {}
    for unit, taken in call.limits.items():
        headers[f"x-ratelimit-limit-{unit}"] = str(taken.limit)
        headers[f"x-ratelimit-remaining-{unit}"] = str(taken.remaining)
        headers[f"x-ratelimit-reset-{unit}"] = duration(taken.reset_s)
    return headers


def duration(seconds: float) -> str:
    """Format seconds like Go and OpenAI, rounded up: 17ms, 1s, 6m0s."""
    if seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms"
    minutes, rest = divmod(math.ceil(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
