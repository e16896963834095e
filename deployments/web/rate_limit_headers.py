"""What a plan says of a request, as the headers that OpenAI's users read."""

import math

from deployments.tenants.admission import Admitted


def limit_headers(call: Admitted) -> dict[str, str]:
    """`x-ratelimit-{limit,remaining,reset}-{requests,tokens}`, of what the plan limits."""
    headers = {}
    for unit, taken in call.limits.items():
        headers[f"x-ratelimit-limit-{unit}"] = str(taken.limit)
        headers[f"x-ratelimit-remaining-{unit}"] = str(taken.remaining)
        headers[f"x-ratelimit-reset-{unit}"] = duration(taken.reset_s)
    return headers


def duration(seconds: float) -> str:
    """As Go writes one, and so OpenAI: 17ms, 1s, 6m0s; rounded up."""
    if seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms"
    minutes, rest = divmod(math.ceil(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
