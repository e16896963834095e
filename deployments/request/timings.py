"""Timings of a request by stage. Knows no stage, and not how they are shown."""

from collections.abc import Iterator
from contextlib import contextmanager

from deployments.request.deadline import Clock


class Timings:
    """Milliseconds by stage, in the order in which the stages first ran."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began = clock()
        self.stages_ms: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        began = self._clock()
        try:
            yield
        finally:
            spent_ms = (self._clock() - began) * 1000
            self.stages_ms[name] = self.stages_ms.get(name, 0.0) + spent_ms

    def total_ms(self) -> float:
        return (self._clock() - self._began) * 1000
