"""The steps that a run passes by on its way down its chain, and why, for people. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from laneway.api.endpoint import WireAPI
from laneway.api.reasons import Cause
from laneway.api.runstatus import PASSED_LIMIT
from laneway.controller.chain.survey import StepView, Survey
from laneway.rules import wording
from laneway.rules.endpoint import spoken


def passed_by(seen: Survey, *, left: int | None, to: int, cause: Cause) -> str | None:
    """The steps between two, for a run between attempts; None: there are none."""
    return _said(seen, ((number, _why(seen, number, cause)) for number in _between(left, to)))


def passed_by_live(seen: Survey, *, left: int | None, to: int, cause: Cause, api: WireAPI | None) -> str | None:
    """The same for an attempt that goes on: a step may also be one that only a new attempt could take. ``api``: what its call speaks."""
    return _said(
        seen,
        (
            (number, _why_not_live(seen.steps[number], api) or _why(seen, number, cause))
            for number in _between(left, to)
        ),
    )


def _between(left: int | None, to: int) -> range:
    return range(0) if left is None else range(left + 1, to)


def _said(seen: Survey, steps: Iterable[tuple[int, str | None]]) -> str | None:
    return ", ".join(f"{seen.name(number)} ({why})" for number, why in steps if why)[:PASSED_LIMIT] or None


def _why(seen: Survey, number: int, cause: Cause) -> str | None:
    """None: only the one who chose could say, as for LeastBusy, or a model that the gateway has tried itself."""
    step = seen.steps[number]
    if step.cooldown is not None:
        return wording.cooling(step.cooldown, seen.now)
    if step.blocker is not None:
        return step.blocker.message
    if step.link.causes and cause not in step.link.causes:
        return f"its causes do not list {cause}"
    return None if seen.has_room(number) else wording.CAUSES[Cause.FULL]


def _why_not_live(step: StepView, api: WireAPI | None) -> str | None:
    if step.lane is None:
        return None
    if step.lane.direct:
        return "its lane is Direct, where only a new attempt can go"
    if step.link.model is None:
        return "its lane's classifier has not chosen a model, which it does between attempts"
    endpoint = step.lane.spec.endpoint
    if api is None or api in spoken(endpoint):
        return None
    return f"its server ({endpoint.server}) speaks {', '.join(sorted(spoken(endpoint)))}; the call speaks {api}"
