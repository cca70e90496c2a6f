"""Questions to classifiers that are on their way, and answers that no status has yet. All of it can be lost: a run that has no answer asks again."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable

from laneway.controller.decision.effects import Classify
from laneway.controller.facts.views import Answer
from laneway.kube.resources import Key

log = logging.getLogger(__name__)

AT_ONCE = 4
"""Runs of one lane that are classified at the same time: a thousand new runs are no thousand calls."""
AGAIN_SECONDS = 2.0
"""A gateway that is away is asked again after this; the runs of its lanes cannot begin without it anyway."""


Put = Callable[[Classify], Awaitable[Answer | None]]
"""Puts one question. None: there is nobody to take it now."""


class Questions:
    """One question for each run, beside the passes: nobody waits for a classifier but the run."""

    def __init__(self, put: Put, *, again_seconds: float = AGAIN_SECONDS) -> None:
        self._put = put
        self._again_seconds = again_seconds
        self._asking: dict[str, asyncio.Task[None]] = {}
        self._answers: dict[str, Answer] = {}
        self._places: defaultdict[tuple[str, str], asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(AT_ONCE))
        self.on_answer: Callable[[Key], None] = lambda run: None
        """Told of each run that has to look: there is an answer, or it has to ask again."""

    def ask(self, question: Classify, run: Key) -> None:
        """Put a question. One that is on its way, or that the same lane has answered, is not put again."""
        uid = question.run_uid
        known = self._answers.get(uid)
        if uid in self._asking or (known is not None and known.lane == question.lane):
            return
        self._answers.pop(uid, None)  # of a lane that has no classifier any more: the run stands on another one now
        task = self._asking[uid] = asyncio.create_task(self._ask(question, run), name=f"classify {run}")
        task.add_done_callback(lambda done: self._ended(uid, run, done))

    def answer_to(self, run_uid: str) -> Answer | None:
        """What came of a run's question; None: nothing yet."""
        return self._answers.get(run_uid)

    def forget(self, run_uid: str) -> None:
        """Nobody wants the answer any more."""
        self._answers.pop(run_uid, None)
        if (task := self._asking.pop(run_uid, None)) is not None:
            task.cancel()

    async def close(self) -> None:
        """Put no more questions."""
        tasks = list(self._asking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _ask(self, question: Classify, run: Key) -> None:
        async with self._places[question.lane]:
            answer = await self._put(question)
        if answer is None:
            await asyncio.sleep(self._again_seconds)
        else:
            self._answers[question.run_uid] = answer
        self._asking.pop(question.run_uid, None)
        self.on_answer(run)

    def _ended(self, uid: str, run: Key, task: asyncio.Task[None]) -> None:
        if self._asking.get(uid) is task:
            del self._asking[uid]
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a question ended with an error of ours", exc_info=error)
            asyncio.get_running_loop().call_later(self._again_seconds, self.on_answer, run)
