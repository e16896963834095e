"""How many tokens an engine computes in a second, as it has been seen doing.

Knows no engine and no queue: only what was computed and a clock.
"""

from deployments.request.deadline import Clock

_WEIGHT_OF_NEW = 0.2


class Throughput:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._busy_until = 0.0
        self.tokens_per_s = 0.0

    def observe(self, tokens: int, began_s: float, *, full: bool) -> None:
        """A batch of `tokens` that began at `began_s` is done. One that was not `full` shows only
        what the engine does at least."""
        now = self._clock()
        # Batches in several slots share the engine: only time not counted yet is this one's.
        took = now - max(began_s, self._busy_until)
        self._busy_until = now
        if took <= 0:
            return
        seen = tokens / took
        if full and self.tokens_per_s:
            self.tokens_per_s += _WEIGHT_OF_NEW * (seen - self.tokens_per_s)
        elif full or 0 < self.tokens_per_s < seen:
            self.tokens_per_s = seen

    def seconds_for(self, tokens: float) -> float:
        """0 as long as no full batch was computed."""
        return tokens / self.tokens_per_s if self.tokens_per_s else 0.0
