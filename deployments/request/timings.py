"""Timings of a request by stage. Knows no stage, and not how they are shown."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from deployments.request.batch_run import Runs
from deployments.request.deadline import Clock


class StageSpan(NamedTuple):
    """One run of a stage, on the clock of the timings, and the batches that it took part in."""

    stage: str
    began_s: float
    ended_s: float
    runs: Runs


class Timings:
    """Milliseconds by stage, in the order in which the stages first ran, and each run as a span.

    `observe` is called with the name and the seconds of each stage whenever it ends.
    """

    def __init__(
        self, clock: Clock, observe: Callable[[str, float], None] = lambda *_: None
    ) -> None:
        self._clock = clock
        self._observe = observe
        self._began = clock()
        self._runs: Runs = ()
        self.stages_ms: dict[str, float] = {}
        self.spans: list[StageSpan] = []

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        began_s = self._clock()
        try:
            yield
        finally:
            ended_s = self._clock()
            spent_s = ended_s - began_s
            self.stages_ms[name] = self.stages_ms.get(name, 0.0) + spent_s * 1000
            self.spans.append(StageSpan(name, began_s, ended_s, self._runs))
            self._runs = ()
            self._observe(name, spent_s)

    def ran(self, runs: Runs) -> None:
        """Note the batches of the stage that runs now."""
        self._runs += runs

    def total_ms(self) -> float:
        return (self._clock() - self._began) * 1000
