"""Statuses whose write had no answer, with the Events that belong to them. They are told once the status is seen to be written.

The next decision cannot tell them: it finds the status as if it had always said so. Kept in memory alone, as all that is for people.
"""

from __future__ import annotations

from laneway.controller.decision.effects import PostEvent
from laneway.kube.resources import JsonObject

MOST = 1_000
"""Objects in doubt at once; the Events of the oldest are given up."""


class Doubts:
    """What may have been written, by the uid of the object."""

    def __init__(self) -> None:
        self._by_uid: dict[str, tuple[JsonObject, tuple[PostEvent, ...]]] = {}

    def note(self, uid: str, status: JsonObject, events: tuple[PostEvent, ...]) -> None:
        """The write of this status had no answer. What was in doubt of the object before is so no longer: it was read since."""
        self._by_uid.pop(uid, None)
        self._by_uid[uid] = (status, events)
        if len(self._by_uid) > MOST:
            del self._by_uid[next(iter(self._by_uid))]

    def landed(self, uid: str, known: JsonObject) -> tuple[PostEvent, ...]:
        """The Events to tell now, once, if the status that is known is the one in doubt."""
        status, events = self._by_uid.get(uid, ({}, ()))
        if not events or status != known:
            return ()
        del self._by_uid[uid]
        return events

    def settle(self, uid: str) -> None:
        """A later write was answered: the one in doubt was not done, or is overtaken."""
        self._by_uid.pop(uid, None)
