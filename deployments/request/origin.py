"""The origin of a request, by which fair queues schedule it: tenant, lane and weight.

A lane is a priority band. Knows neither requests nor queues.
"""

from dataclasses import dataclass
from typing import Literal, get_args

Lane = Literal["interactive", "default", "bulk"]

LANES: tuple[Lane, ...] = get_args(Lane)


@dataclass(frozen=True, slots=True)
class Origin:
    """The flow that a request belongs to in a fair queue.

    A tenant of weight 2 gets twice the share of one of weight 1.
    """

    tenant: str
    lane: Lane = "default"
    weight: float = 1.0
