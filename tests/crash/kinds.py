"""The kinds of faults. Each counts how often it came: a trial that met none has shown nothing."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Collection

from crash.ending import Ending
from crash.oracle import wrongs
from crash.trial import Outcome, Trial
from laneway.kube.listing import FOLLOWED
from laneway.kube.resources import JsonObject
from support.faultproxy import Asked, Cut, Faults, Refusal, Write

CONFLICT = Refusal(409, "Conflict")
TOO_MANY = Refusal(429, "TooManyRequests", retry_after=1)
BROKEN = Refusal(500, "InternalError")
_BOOKMARK = "BOOKMARK"
_LATEST_SECONDS = 0.4


class Counted(Faults):
    """Faults that are counted by their kind."""

    hits_writes = True
    """Whether writes fail or the operator dies; else it only hears badly."""

    def __init__(self) -> None:
        self.count: Counter[str] = Counter()

    def may_differ(self, path: str) -> bool:
        """Whether the end may be another one here, because nobody can know better."""
        return False

    def wrongs(self, found: Ending) -> list[str]:
        """What is not as it must be where the end may differ."""
        return []


def judged(outcome: Outcome, plain: Outcome, faults: Counted) -> list[str]:
    """What does not hold of a trial, in words: in general, and by the kind of its faults."""
    hits = max(faults.count.total(), outcome.starts - 1) if faults.hits_writes else outcome.starts - 1
    return [*wrongs(outcome, plain, hits=hits, but=faults.may_differ), *faults.wrongs(outcome.ending)]


class Kill(Counted):
    """SIGKILL of the operator right after one of its writes was done: when the answer was given, or before."""

    def __init__(self, trial: Trial, number: int, *, lost: bool) -> None:
        super().__init__()
        self._trial = trial
        self._number = number
        self._lost = lost

    def loses(self, asked: Asked) -> bool:
        return self._lost and asked.number == self._number

    async def done(self, write: Write) -> None:
        if self._lost:
            self._kill(write)

    async def given(self, write: Write) -> None:
        if not self._lost:
            self._kill(write)

    def _kill(self, write: Write) -> None:
        if write.asked.number == self._number:
            self._trial.operator.kill()
            self.count["killed before the answer" if self._lost else "killed after the answer"] += 1


class Refused(Counted):
    """Writes that the API server does not do."""

    def __init__(self, numbers: Collection[int], *answers: Refusal) -> None:
        """The writes of these numbers get these answers in turn."""
        super().__init__()
        self._answers = {number: answers[place % len(answers)] for place, number in enumerate(sorted(numbers))}

    def refuse(self, asked: Asked) -> Refusal | None:
        answer = self._answers.get(asked.number)
        if answer is not None:
            self.count[f"write answered {answer.code}"] += 1
        return answer


class Lost(Counted):
    """Writes that are done and whose answer does not come."""

    def __init__(self, numbers: Collection[int]) -> None:
        super().__init__()
        self._numbers = frozenset(numbers)

    def loses(self, asked: Asked) -> bool:
        lost = asked.number in self._numbers
        self.count["answer lost"] += lost
        return lost


class Watches(Counted):
    """Events that do not come because the watch is cut, come late, or come again with older ones after them."""

    hits_writes = False

    def __init__(self, seed: int, *, cut: float = 0.0, late: float = 0.0, again: float = 0.0) -> None:
        """How likely each of it is for an event."""
        super().__init__()
        self._random = random.Random(seed)
        self._cut, self._late, self._again = cut, late, again
        self._told: dict[str, list[JsonObject]] = {}

    async def lines(self, resource: str, event: JsonObject) -> AsyncIterator[JsonObject]:
        if event["type"] == _BOOKMARK:
            yield event
            return
        if self._random.random() < self._cut:
            self.count["watch cut before an event"] += 1
            raise Cut
        if self._random.random() < self._late:
            self.count["event late"] += 1
            await asyncio.sleep(self._random.uniform(0, _LATEST_SECONDS))
        yield event
        told = self._told.setdefault(resource, [])
        told.append(event)
        if event["type"] != "DELETED" and self._random.random() < self._again:
            self.count["events told again"] += len(told[-3:])
            for older in reversed(told[-3:]):
                yield older


class Expired(Counted):
    """Each watch is told once, in place of its second event, that its version is no longer kept (410)."""

    hits_writes = False

    def __init__(self) -> None:
        super().__init__()
        self._seen: Counter[str] = Counter()

    async def lines(self, resource: str, event: JsonObject) -> AsyncIterator[JsonObject]:
        self._seen[resource] += event["type"] != _BOOKMARK
        if self._seen[resource] == 2:
            self._seen[resource] += 1
            self.count["410 in the watch"] += 1
            yield {"type": "ERROR", "object": {"kind": "Status", "apiVersion": "v1", "code": 410, "reason": "Expired"}}
            return
        yield event


class StaleLists(Kill):
    """A killed operator's successor is given lists that are as old as an earlier write, once for each resource."""

    def __init__(self, trial: Trial, number: int, *, age: int) -> None:
        """The kill is after write ``number``, and the lists are from ``age`` writes before it."""
        super().__init__(trial, number, lost=False)
        self._taken_after = number - age
        self._old: dict[str, JsonObject] = {}
        self._killed = False

    async def done(self, write: Write) -> None:
        if write.asked.number == self._taken_after:
            proxy, namespace = self._trial.proxy, self._trial.stage.namespace
            for resource, selector in FOLLOWED:
                asked = {"labelSelector": selector} if selector else {}
                async with proxy.session.get(proxy.server + resource.path(namespace), params=asked) as answer:
                    self._old[resource.plural] = await answer.json()

    async def given(self, write: Write) -> None:
        await super().given(write)
        self._killed = self._killed or bool(self.count)

    def listed(self, resource: str, listing: JsonObject) -> JsonObject:
        if not self._killed or resource not in self._old:
            return listing
        self.count["stale list"] += 1
        return self._old.pop(resource)


class Rival(Counted):
    """After a write a second operator leads, while the first one goes on: its renewals get no answer, and it may write for 10 s after the last that did."""

    def __init__(self, trial: Trial, number: int) -> None:
        super().__init__()
        self._trial = trial
        self._number = number
        self._first = ""

    def may_renew(self, holder: str) -> bool:
        return not self._first or holder.partition("_")[0] != self._first

    async def given(self, write: Write) -> None:
        if write.asked.number == self._number:
            self._first = self._trial.operator.identity
            self.count["second leader"] += 1
            await self._trial.stage.free_lease()
            self._trial.start()
