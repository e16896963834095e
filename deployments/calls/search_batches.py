"""Questions of many requests into few calls, each call of one tenant.

For a stage whose work is a list of small questions, such as the index. A question goes at once
while fewer than `calls_a_tenant` calls of its tenant are under way, or none where they take long;
else it waits, and goes with all that waits when one returns, as far as a call of `_LONGEST_CALL_S`
has room for, or of `_LONGEST_BESIDE_S` while others ask too. Nobody's answer thus waits for another
tenant's larger collection, and what serves them both is not kept busy for long. Calls are bounded
for all together too; then tenants have turns by the time that their calls take.

How long calls take is learnt, for each tenant and lane. What could not be answered in time is
refused when it comes: late answers are of no use, and would keep those from being in time that
come after.

Knows no Ray: the call is a coroutine that is given, and time is the deadline's.
"""

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from deployments.batching.fair_queue import FairQueue
from deployments.errors import Overloaded
from deployments.request.deadline import Deadline
from deployments.request.origin import Origin

Question = TypeVar("Question")
Answer = TypeVar("Answer")

# The longer, the more questions it takes to read a collection once; but others' calls wait for the
# same processors.
_LONGEST_CALL_S = 0.25
_LONGEST_BESIDE_S = 0.1
_BESIDE_FOR_S = 1.0
# Longer ones leave no time between them that a second could use: it would only slow others down.
_SHORT_CALL_S = 0.05
# Of the time that is left.
_TIME_TO_USE = 0.9
_SHORTEST_CALL_S = 0.001
_WEIGHT_OF_LAST = 0.3
# One that takes longer has waited for a replica to start, and says nothing of the next.
_LONGEST_TOLD_S = 1.0
_MOST_LINES = 1_000


@dataclass(frozen=True, slots=True)
class Limits:
    """Calls under way, of all and of one tenant, and questions in each."""

    calls: int
    calls_a_tenant: int
    questions: int


@dataclass(frozen=True, slots=True)
class _Asked(Generic[Question, Answer]):
    question: Question
    deadline: Deadline
    answer: asyncio.Future[Answer]


@dataclass(slots=True)
class _Line(Generic[Question, Answer]):
    """A tenant's: `call_s` is how long its calls take, `most` how many questions one may have;
    `turn` is what it pays for the turn that it waits for, 0 if it waits for none."""

    origin: Origin
    limits: Limits
    most: int = field(init=False)
    waiting: deque[_Asked[Question, Answer]] = field(default_factory=deque)
    under_way: int = 0
    turn: int = 0
    call_s: float = 0.0

    def __post_init__(self) -> None:
        self.most = self.limits.questions

    @property
    def calls_at_once(self) -> int:
        return self.limits.calls_a_tenant if self.call_s < _SHORT_CALL_S else 1

    def estimate_s(self) -> float:
        """About how long until one more question is answered."""
        if self.under_way < self.calls_at_once and not self.waiting:
            return self.call_s
        rounds = math.ceil((len(self.waiting) + 1) / self.most / self.calls_at_once)
        return (1 + rounds) * self.call_s

    def take(self) -> list[_Asked[Question, Answer]]:
        together: list[_Asked[Question, Answer]] = []
        while self.waiting and len(together) < self.most:
            asked = self.waiting.popleft()
            if not asked.answer.done():
                together.append(asked)
        return together

    def learn(self, questions: int, took_s: float, longest_s: float) -> None:
        told_s = min(took_s, _LONGEST_TOLD_S)
        before = self.call_s or told_s
        self.call_s = before + _WEIGHT_OF_LAST * (told_s - before)
        if took_s > longest_s or questions >= self.most:
            fitting = int(questions * longest_s / max(took_s, _SHORTEST_CALL_S))
            self.most = min(self.limits.questions, max(1, fitting))


class Gatherer(Generic[Question, Answer]):
    """`call` answers each question, in order, with its answer or with the error to raise."""

    def __init__(
        self,
        stage: str,
        call: Callable[[Sequence[Question], Deadline], Awaitable[Sequence[Answer | Exception]]],
        limits: Limits,
    ) -> None:
        self._stage = stage
        self._call = call
        self._limits = limits
        self._lines: dict[Origin, _Line[Question, Answer]] = {}
        # Those with questions that may be sent.
        self._turns: FairQueue[_Line[Question, Answer]] = FairQueue()
        self._under_way: set[asyncio.Task[None]] = set()
        self._asked_last: Origin | None = None
        self._others_asked_s = -math.inf

    def turn_away(self, deadline: Deadline, origin: Origin) -> None:
        """Raises Overloaded if a question would not be answered in time."""
        line = self._lines.get(origin)
        if line is None:
            return
        wait_s = line.estimate_s()
        left_s = deadline.left_s()
        # A call tells how long they take now; else one slow call would close the stage for good.
        if line.under_way and wait_s > _TIME_TO_USE * left_s:
            raise Overloaded(
                f"the {self._stage} stage would need about {wait_s:.1f} s for this tenant's next"
                f" and {left_s:.1f} s are left: try again shortly, or allow more with deadline_ms",
                retry_after_s=wait_s - _TIME_TO_USE * left_s,
            )

    async def ask(self, question: Question, deadline: Deadline, origin: Origin) -> Answer:
        """Raises what the call raises, or gives for an answer; Overloaded as `turn_away`."""
        self.turn_away(deadline, origin)
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        if self._asked_last not in (None, origin):
            self._others_asked_s = deadline.clock()
        self._asked_last = origin
        line = self._line(origin)
        line.waiting.append(_Asked(question, deadline, answer))
        self._line_up(line)
        self._send()
        return await answer

    def _line(self, origin: Origin) -> _Line[Question, Answer]:
        if origin not in self._lines:
            if len(self._lines) >= _MOST_LINES:
                self._lines = {
                    one: line for one, line in self._lines.items() if line.under_way or line.waiting
                }
            self._lines[origin] = _Line(origin, self._limits)
        return self._lines[origin]

    def _line_up(self, line: _Line[Question, Answer]) -> None:
        if line.waiting and not line.turn and line.under_way < line.calls_at_once:
            line.turn = max(1, math.ceil(line.call_s / _SHORTEST_CALL_S))
            self._turns.push(line, line.turn, line.origin)

    def _send(self) -> None:
        while self._turns and len(self._under_way) < self._limits.calls:
            line = self._turns.head()
            self._turns.serve(line.turn, leaves=True)
            line.turn = 0
            if together := line.take():
                self._start(together, line)
            self._line_up(line)

    def _start(
        self, together: list[_Asked[Question, Answer]], line: _Line[Question, Answer]
    ) -> None:
        def returned(task: asyncio.Task[None]) -> None:
            self._under_way.discard(task)
            line.under_way -= 1
            self._line_up(line)
            self._send()

        line.under_way += 1
        # In no request's context: Serve would end the call for all when that one's client is gone.
        task = asyncio.create_task(self._carry(together, line), context=Context())
        self._under_way.add(task)
        task.add_done_callback(returned)

    async def _carry(
        self, together: list[_Asked[Question, Answer]], line: _Line[Question, Answer]
    ) -> None:
        latest = max((asked.deadline for asked in together), key=lambda one: one.at_s)
        began_s = latest.clock()
        answers: Sequence[Answer | Exception]
        try:
            answers = await self._call([asked.question for asked in together], latest)
        except Exception as failure:  # everyone in the call must hear of it
            answers = [failure] * len(together)
        else:
            ended_s = latest.clock()
            alone = ended_s - self._others_asked_s > _BESIDE_FOR_S
            longest_s = _LONGEST_CALL_S if alone else _LONGEST_BESIDE_S
            line.learn(len(together), ended_s - began_s, longest_s)
        for asked, answer in zip(together, answers, strict=True):
            if asked.answer.done():
                continue
            if isinstance(answer, Exception):
                asked.answer.set_exception(answer)
            else:
                asked.answer.set_result(answer)
