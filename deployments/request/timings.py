"""Timings of a request by stage. Knows no stage, and not how they are shown."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from deployments.request.deadline import Clock


class Timings:
    """Milliseconds by stage, in the order in which the stages first ran.

    `observe` is called with the name and the seconds of each stage whenever it ends.
    """

    def __init__(
        self, clock: Clock, observe: Callable[[str, float], None] = lambda *_: None
    ) -> None:
        self._clock = clock
        self._observe = observe
        self._began = clock()
        self.stages_ms: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        began = self._clock()
        try:
            yield
        finally:
            spent_s = self._clock() - began
            self.stages_ms[name] = self.stages_ms.get(name, 0.0) + spent_s * 1000
            self._observe(name, spent_s)

    def total_ms(self) -> float:
        return (self._clock() - self._began) * 1000
