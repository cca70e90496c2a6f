"""The chain of a run: its steps with the fallbacks of lanes between them, and which of the open ones is taken. Pure.

A step is *open* when nothing keeps the run from it, else it is *shut* for a cause. The causes of the shut steps lead on: a step is
reached when it is the first, or when one of the reached and shut steps above it is shut for a cause that it admits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from laneway.api.reasons import Cause
from laneway.api.runstatus import CHAIN_LIMIT
from laneway.api.steps import Step

DEPTH_LIMIT = 8
"""Fallbacks of fallbacks of ... lanes (C23)."""

Key = tuple[str, str]
"""Namespace and name of a lane."""
Identity = tuple[str, str, str | None]

TRANSIENT_CAUSES = frozenset(
    {
        Cause.RATE_LIMIT_MODEL,
        Cause.RATE_LIMIT_ACCOUNT,
        Cause.QUOTA_EXHAUSTED,
        Cause.API_TRANSIENT,
        Cause.API_TIMEOUT,
    }
)
"""What passes by itself: the run waits if no step is open."""
_ADMITTED_UNSAID = TRANSIENT_CAUSES | {
    Cause.MODEL_NOT_FOUND,
    Cause.WIRE_API_UNSUPPORTED,
    Cause.UNSUITABLE,
    Cause.MANUAL,
}
_ADMITTED_BY_SWITCH = frozenset({Cause.AUTH_FAILED, Cause.CONTEXT_TOO_LONG})
"""Not by the switch: 400 and 422, whose class is TaskFailure (C22)."""


@dataclass(frozen=True)
class Link:
    """One step of a chain, with all defaults filled in."""

    namespace: str
    lane: str
    model: str | None
    """None: no model is named, and the lane is not there to name its first, or its classifier has not chosen yet."""
    causes: tuple[Cause, ...] = ()

    @property
    def key(self) -> Key:
        """Its lane."""
        return self.namespace, self.lane

    @property
    def identity(self) -> Identity:
        """What makes two steps the same."""
        return self.namespace, self.lane, self.model


@dataclass(frozen=True)
class LaneSteps:
    """What a chain takes from a lane."""

    model: str | None
    """Of steps that name none; None: the run has to be classified first."""
    fallback: tuple[Step, ...] = ()


@dataclass(frozen=True)
class Chain:
    """The steps in order, and what had to be left out."""

    links: tuple[Link, ...] = ()
    cycles: tuple[Key, ...] = ()
    """Lanes that fall back to themselves by way of others; there the chain was cut (S2.30)."""
    shortened: bool = False
    """It would have been deeper than 8, or longer than its limit."""

    def index(self, namespace: str, lane: str, model: str | None) -> int | None:
        """Where a step stands; without a model the first of its lane. A link that has no model, as its lane is gone, stands for any."""
        here = [number for number, link in enumerate(self.links) if link.key == (namespace, lane)]
        exact = (number for number in here if model in (None, self.links[number].model))
        unnamed = (number for number in here if self.links[number].model is None)
        return next(exact, next(unnamed, None))


@dataclass(frozen=True)
class Shut:
    """Why a step cannot be taken now."""

    cause: Cause | None
    """None: it is not known yet whether it can; nobody goes past it before that."""
    advances: bool = False
    """Its lane says ``advanceOnPermanent``."""


def expand(models: Iterable[Step], *, namespace: str, lane_of: Callable[[Key], LaneSteps | None]) -> Chain:
    """The chain of a run of ``namespace``: each lane's fallback stands behind the first step on that lane (S2.28, S2.30, C23).

    The first of equal steps is kept; model names are taken verbatim (S2.29). A step without a namespace means that of the object in
    which it is written.
    """
    work = _Expansion(lane_of)
    work.add(models, namespace, ())
    return Chain(tuple(work.links.values()), tuple(dict.fromkeys(work.cycles)), work.shortened)


@dataclass
class _Expansion:
    lane_of: Callable[[Key], LaneSteps | None]
    links: dict[Identity, Link] = field(default_factory=dict)
    cycles: list[Key] = field(default_factory=list)
    expanded: set[Key] = field(default_factory=set)
    shortened: bool = False

    def add(self, steps: Iterable[Step], namespace: str, path: tuple[Key, ...]) -> None:
        for step in steps:
            key = step.namespace or namespace, step.lane
            lane = self.lane_of(key)
            link = Link(*key, step.model or (lane.model if lane else None), step.causes)
            if link.identity not in self.links:
                if len(self.links) == CHAIN_LIMIT:
                    self.shortened = True
                    return
                self.links[link.identity] = link
            if lane is not None and lane.fallback:
                self._go_deeper(key, lane, path)

    def _go_deeper(self, key: Key, lane: LaneSteps, path: tuple[Key, ...]) -> None:
        if key in path:
            self.cycles.append(key)
        elif key in self.expanded:
            return
        elif len(path) == DEPTH_LIMIT:
            self.shortened = True
        else:
            self.expanded.add(key)
            self.add(lane.fallback, key[0], (*path, key))


def admits(link: Link, shut: Shut) -> bool:
    """Whether what shut one step may lead to another one below it.

    A step that lists causes admits those. One that lists none admits what another model may not have: not a refused key and not a request
    that is too long, unless the failed lane says ``advanceOnPermanent`` (S2.34, C22), and not a lane without a free slot.
    """
    if shut.cause is None:
        return False
    if link.causes:
        return shut.cause in link.causes
    return shut.cause in _ADMITTED_UNSAID or (shut.advances and shut.cause in _ADMITTED_BY_SWITCH)


def reached(links: Sequence[Link], shut: Mapping[int, Shut], *, start: int = 0) -> tuple[int, ...]:
    """The steps from ``start`` on that causes lead to, open ones and shut ones; ``start`` itself is always one."""
    found: list[int] = []
    for number in range(start, len(links)):
        if number == start or any(admits(links[number], shut[above]) for above in found if above in shut):
            found.append(number)
    return tuple(found)


def from_top(links: Sequence[Link], shut: Mapping[int, Shut]) -> int | None:
    """The first open step that causes lead to (C10e). None: the run waits."""
    return next((number for number in reached(links, shut) if number not in shut), None)


def below(links: Sequence[Link], shut: Mapping[int, Shut], *, failed: int, because: Shut) -> tuple[int, ...]:
    """The open steps below the one that failed that causes lead to, in order; never back up (S4.2)."""
    led = reached(links, {**shut, failed: because}, start=failed)
    return tuple(number for number in led if number != failed and number not in shut)


def walk(links: Sequence[Link], shut: Mapping[int, Shut], *, failed: int, because: Shut) -> int | None:
    """The first of the open steps below the one that failed."""
    return next(iter(below(links, shut, failed=failed, because=because)), None)


def least_busy(links: Sequence[Link], among: Iterable[int], runs: Mapping[Key, int]) -> int | None:
    """The step whose lane has the fewest runs, active and queued; of equals the first by name (S0.28)."""
    return min(among, key=lambda number: (runs.get(links[number].key, 0), *_name(links[number])), default=None)


def lists_full(link: Link) -> bool:
    """Whether a lane without a free slot may lead to the step; it has to be listed."""
    return Cause.FULL in link.causes


def _name(link: Link) -> tuple[str, str, str]:
    return link.namespace, link.lane, link.model or ""
