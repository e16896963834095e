"""Whose work a request is, and in which band of priority it waits.

Knows neither requests nor queues.
"""

from dataclasses import dataclass
from typing import Literal, get_args

Lane = Literal["interactive", "default", "bulk"]

LANES: tuple[Lane, ...] = get_args(Lane)


@dataclass(frozen=True, slots=True)
class Origin:
    """Tenant, lane and weight of a request. A tenant of weight 2 gets twice the share of one of
    weight 1."""

    tenant: str
    lane: Lane = "default"
    weight: float = 1.0
