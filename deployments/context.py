"""What goes with a request through all its stages: whose it is, until when, where its time went."""

from dataclasses import dataclass

from deployments.deadline import Deadline
from deployments.fair_queue import Origin
from deployments.timings import Timings


@dataclass(frozen=True, slots=True)
class Context:
    origin: Origin
    deadline: Deadline
    timings: Timings
