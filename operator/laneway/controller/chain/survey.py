"""A run's chain as it is now: for each step whether the run may take it, else why not. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from laneway.api.reasons import Cause, Outcome, ResetSource, Waiting
from laneway.api.runstatus import Attempt, Fallback
from laneway.controller.chain.eligibility import Blocker, Question, find_step_blocker
from laneway.controller.facts.objects import Lane, Run
from laneway.controller.facts.views import RunView
from laneway.controller.health.own import cooldown_for, healths
from laneway.rules import wording
from laneway.rules.chain import TRANSIENT_CAUSES, Chain, Identity, Key, Link, Shut
from laneway.rules.cooldown import Cooldown

BARRING_CAUSES = frozenset(
    {
        Cause.MODEL_NOT_FOUND,
        Cause.WIRE_API_UNSUPPORTED,
        Cause.UNSUITABLE,
        Cause.AUTH_FAILED,
        Cause.CONTEXT_TOO_LONG,
        Cause.TASK_FAILURE,
        Cause.UNKNOWN,
    }
)
"""A step whose model failed a run in such a way would fail it again: the run does not come back to it by itself."""


@dataclass(frozen=True)
class StepView:
    """One step and what keeps the run from it."""

    link: Link
    lane: Lane | None
    blocker: Blocker | None = None
    """None: it is open."""
    cooldown: Cooldown | None = None
    barred: bool = False
    """The run failed on it in a way that will not pass."""

    @property
    def left(self) -> bool:
        """Whether it may still serve the run: open, or shut by what passes without anybody changing a spec."""
        cause = self.blocker.cause if self.blocker else None
        return self.blocker is None or cause is None or cause in TRANSIENT_CAUSES or cause is Cause.MANUAL

    @property
    def shut(self) -> Shut | None:
        """For the rules of chains; None: it is open."""
        advances = self.lane is not None and self.lane.spec.advance_on_permanent
        return Shut(self.blocker.cause, advances) if self.blocker else None


@dataclass(frozen=True)
class Survey:
    """All steps of a run's chain at one moment."""

    run: Run
    chain: Chain
    steps: tuple[StepView, ...]
    now: datetime

    @property
    def links(self) -> tuple[Link, ...]:
        """The steps as the chain has them."""
        return self.chain.links

    @property
    def shut(self) -> dict[int, Shut]:
        """Steps that are not open, by number."""
        return {number: shut for number, step in enumerate(self.steps) if (shut := step.shut)}

    @property
    def current(self) -> int | None:
        """The step that the run is on; None before its first look, and when the chain no longer has it."""
        step = self.run.status.step
        return self.chain.index(step.namespace, step.lane, step.model) if step else None

    def name(self, number: int) -> str:
        """A step for people."""
        link = self.links[number]
        return wording.step_name(*link.identity, home=self.run.meta.namespace)

    def without_estimates(self) -> Survey:
        """The same with steps open that only our own estimate keeps shut (``onTransientError: Skip``)."""
        return replace(self, steps=tuple(_without_estimate(step) for step in self.steps))

    def waits(self) -> Iterator[str]:
        """Every step that is shut, and why."""
        for number, step in enumerate(self.steps):
            if step.blocker:
                why = wording.cooling(step.cooldown, self.now) if step.cooldown else f": {step.blocker.message}"
                yield f"{self.name(number)}{'' if why.startswith(':') else ' '}{why}"

    def runs(self) -> dict[Key, int]:
        """Active and queued runs of each lane, this run not counted."""
        return {step.link.key: self._others(step.lane) for step in self.steps if step.lane}

    def has_room(self, number: int) -> bool:
        """Whether a slot of the step's lane is free and nobody stands in line for it. A model on trial takes one run at a time."""
        step = self.steps[number]
        if step.lane is None:
            return False
        model = step.link.model
        on_trial = model is not None and healths(self.run, step.lane, model)[0].on_trial
        return self._others(step.lane) < (1 if on_trial else step.lane.spec.capacity.runs)

    def _others(self, lane: Lane) -> int:
        mine = self.run.status.queue is not None and self.run.lane_key == lane.meta.key
        counted = (lane.status.active_runs or 0) + (lane.status.queued_runs or 0)
        return max(0, counted - 1) if mine else counted


def survey(view: RunView, now: datetime, run: Run | None = None) -> Survey:
    """Look at every step. ``run`` is the view's run with a status that is about to be written."""
    run = run or view.run
    barred = _barred(run)
    steps = tuple(_look(view, run, link, now, barred) for link in view.chain.links)
    return Survey(run, view.chain, steps, now)


def is_ignorable(cooldown: Cooldown) -> bool:
    """Our own estimate of something that passes; not a server's word, a person's, or a refused key."""
    return cooldown.source is ResetSource.ESTIMATED and cooldown.cause in TRANSIENT_CAUSES


def _look(view: RunView, run: Run, link: Link, now: datetime, barred: Mapping[Identity, Cause]) -> StepView:
    lane = view.lanes.get(link.key)
    question = Question(run=run, lane=lane, presets=view.presets, usable_lanes=view.usable_lanes, now=now, link=link)
    if link.identity in barred:
        cause = barred[link.identity]
        message = f"an attempt of this run failed there ({wording.CAUSES[cause]})"
        return StepView(link, lane, Blocker(Waiting.MODEL_NOT_FOUND, message, cause=cause), barred=True)
    if blocker := find_step_blocker(question):
        return StepView(link, lane, blocker)
    if lane is None:
        raise ValueError("a step without a lane is blocked")
    if link.model is None:
        return StepView(link, lane)  # its classifier chooses once the run stands there
    cooldown = cooldown_for(run, lane, link.model, view.peers.get(link.key, ()), now)
    if cooldown is None:
        return StepView(link, lane)
    words = f"{wording.step_name(*link.identity, home=run.meta.namespace)} {wording.cooling(cooldown, now)}"
    return StepView(link, lane, Blocker(Waiting.ALL_MODELS_COOLING, words, cooldown.until, cooldown.cause), cooldown)


def _without_estimate(step: StepView) -> StepView:
    ignored = step.cooldown is not None and is_ignorable(step.cooldown)
    return replace(step, blocker=None, cooldown=None) if ignored else step


def _barred(run: Run) -> dict[Identity, Cause]:
    """Steps that failed the run for good, as far as its kept attempts tell, unless a person sent it there again since."""
    barred: dict[Identity, Cause] = {}
    for attempt in run.status.attempts:
        step, cause = attempt.step, attempt.cause
        if attempt.outcome is not Outcome.MODEL_TROUBLE or cause not in BARRING_CAUSES:
            continue
        if not any(_sent_back(move, attempt) for move in run.status.fallback_history):
            barred[step.namespace, step.lane, step.model] = cause
    return barred


def _sent_back(move: Fallback, attempt: Attempt) -> bool:
    to, step = move.to, attempt.step
    same = (to.namespace, to.lane, to.model) == (step.namespace, step.lane, step.model)
    return same and move.cause is Cause.MANUAL and move.attempt >= attempt.id
