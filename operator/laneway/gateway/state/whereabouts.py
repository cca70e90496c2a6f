"""Where the calls of an attempt go: the model in use, its moves within a lane, and the calls that are held for a slot of another lane."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from laneway.api.endpoint import WireAPI
from laneway.api.gatewaystate import MOVES_KEPT, ModelInUse, ModelMove, Wish
from laneway.api.reasons import Cause
from laneway.api.runstatus import StepStatus


@dataclass(slots=True)
class Whereabouts:
    """Of one attempt, as far as this process has seen."""

    model: ModelInUse | None = None
    """None before the first success and the first move."""
    answered: set[StepStatus] = field(default_factory=set)
    """The steps that have answered a call."""
    _wishes: dict[object, Wish] = field(default_factory=dict)
    """By the held call."""

    @property
    def wish(self) -> Wish | None:
        """What the held calls ask for: of several the one that is held longest."""
        return max(self._wishes.values(), key=lambda wish: wish.until_time, default=None)

    def served(self, step: StepStatus) -> None:
        """A call succeeded. One of a model of the same lane that was left meanwhile changes nothing."""
        known = self.model
        if known is not None and known.served and known.step is step:
            return
        self.answered.add(step)
        if known is None or not _same_lane(known.step, step):
            self.model = ModelInUse(step=step, served=True)
        elif known.step == step and not known.served:
            self.model = known.model_copy(update={"served": True})

    def move(self, left: StepStatus, to: str, cause: Cause, now: datetime, api: WireAPI | None = None) -> bool:
        """Calls go to another model of the lane from now on. False: another call of the attempt has left that step before."""
        known = self.model
        here = known is not None and _same_lane(known.step, left)
        if known is not None and here and known.step != left:
            return False
        before = known.moves if known is not None and here else ()
        made = ModelMove(from_=left.model, to=to, cause=cause, time=now, api=api)
        step = left.model_copy(update={"model": to})
        self.model = ModelInUse(step=step, moves=(*before, made)[-MOVES_KEPT:])
        return True

    def ask(self, call: object, wish: Wish) -> bool:
        """A call is held. False: it was told so before."""
        news = self._wishes.get(call) != wish
        self._wishes[call] = wish
        return news

    def withdraw(self, call: object) -> bool:
        """A call is held no longer. False: it was not."""
        return self._wishes.pop(call, None) is not None


def _same_lane(one: StepStatus, other: StepStatus) -> bool:
    return (one.namespace, one.lane) == (other.namespace, other.lane)
