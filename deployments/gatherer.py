"""Questions of many requests into few calls, in fair order.

For a stage whose work is a list of small questions, such as the index: a call costs about as much
with one as with thirty. A question goes at once while fewer than `calls_at_once` calls are under
way; else it waits, and goes with all that wait when one returns, tenants and lanes in fair turns.

Knows no Ray: the call is a coroutine that is given.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from deployments.deadline import Deadline
from deployments.fair_queue import FairQueue, Origin

Question = TypeVar("Question")
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class _Asked(Generic[Question, Answer]):
    question: Question
    deadline: Deadline
    answer: asyncio.Future[Answer]


class Gatherer(Generic[Question, Answer]):
    """`call` answers each question, in order, with its answer or with the error to raise."""

    def __init__(
        self,
        call: Callable[[Sequence[Question], Deadline], Awaitable[Sequence[Answer | Exception]]],
        calls_at_once: int,
        questions_a_call: int,
    ) -> None:
        self._call = call
        self._calls_at_once = calls_at_once
        self._questions_a_call = questions_a_call
        self._waiting: FairQueue[_Asked[Question, Answer]] = FairQueue()
        self._under_way: set[asyncio.Task[None]] = set()

    async def ask(self, question: Question, deadline: Deadline, origin: Origin) -> Answer:
        """Raises what the call raises, or gives for an answer."""
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.push(_Asked(question, deadline, answer), 1, origin)
        self._send()
        return await answer

    def _send(self) -> None:
        while len(self._under_way) < self._calls_at_once and (together := self._take()):
            task = asyncio.create_task(self._carry(together))
            self._under_way.add(task)
            task.add_done_callback(self._returned)

    def _returned(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        self._send()

    def _take(self) -> list[_Asked[Question, Answer]]:
        together: list[_Asked[Question, Answer]] = []
        while self._waiting and len(together) < self._questions_a_call:
            asked = self._waiting.head()
            wanted = not asked.answer.done()
            self._waiting.serve(int(wanted), leaves=True, dropped_tokens=int(not wanted))
            if wanted:
                together.append(asked)
        return together

    async def _carry(self, together: list[_Asked[Question, Answer]]) -> None:
        latest = max((asked.deadline for asked in together), key=lambda one: one.at_s)
        try:
            answers = await self._call([asked.question for asked in together], latest)
        except Exception as failure:  # everyone in the call must hear of it
            answers = [failure] * len(together)
        for asked, answer in zip(together, answers, strict=True):
            if asked.answer.done():
                continue
            if isinstance(answer, Exception):
                asked.answer.set_exception(answer)
            else:
                asked.answer.set_result(answer)
