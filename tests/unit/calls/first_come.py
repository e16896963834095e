"""The reference for admission: first come, first served before an engine of the average pace.

Batches are filled in order of arrival under the same limits, and nobody is refused or given up.
Knows nothing of the service's queues.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from deployments.batching.batcher import BatchLimits
from deployments.request.origin import Lane
from tests.unit.calls.virtual_stage import Pace


@dataclass(frozen=True, slots=True)
class Request:
    at_s: float
    tenant: str
    lane: Lane
    rows: int
    row_tokens: int
    timeout_s: float

    @property
    def tokens(self) -> int:
        return self.rows * self.row_tokens


class FirstCome:
    """Plays requests, in order of arrival, on `share` of an engine."""

    def __init__(self, pace: Pace, limits: BatchLimits, share: float = 1.0) -> None:
        self._pace = pace
        self._limits = limits
        self._share = share

    def done_s(self, requests: Sequence[Request]) -> list[float]:
        """The instant at which the last row of each is done."""
        done = [0.0] * len(requests)
        coming, waiting = deque(enumerate(requests)), deque[list[int]]()
        slots, now_s, busy_until_s = [0.0] * self._limits.slots, 0.0, 0.0
        while coming or waiting:
            slot = slots.index(min(slots))
            now_s = max(now_s, slots[slot], 0.0 if waiting else coming[0][1].at_s)
            while coming and coming[0][1].at_s <= now_s:
                number, request = coming.popleft()
                waiting.append([number, request.rows])
            tokens, numbers = self._batch(waiting, requests)
            begins_s = now_s if self._pace.each else max(now_s, busy_until_s)
            slots[slot] = busy_until_s = begins_s + self._pace.seconds(tokens) / self._share
            for number in numbers:
                done[number] = max(done[number], slots[slot])
        return done

    def _batch(
        self, waiting: deque[list[int]], requests: Sequence[Request]
    ) -> tuple[int, list[int]]:
        """The tokens of the next batch, and the numbers of the requests with rows in it."""
        rows, left = self._limits.max_batch_rows, self._limits.max_batch_tokens
        numbers: list[int] = []
        while waiting and rows:
            number, rows_left = waiting[0]
            fit = min(rows, rows_left, left // requests[number].row_tokens)
            if not fit and numbers:
                break
            numbers.append(number)
            rows -= max(1, fit)
            left -= max(1, fit) * requests[number].row_tokens
            waiting[0][1] -= max(1, fit)
            if not waiting[0][1]:
                waiting.popleft()
        return self._limits.max_batch_tokens - left, numbers
