"""Which step a run without a slot takes, as its survey shows. Pure.

A run stays where it is while it can get its slot there: every move is a write. It moves when its step is shut, when the wait for its models is
over, and when it would have to stand in line while another step that it may take has a free slot.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from laneway.api.agentrun import OnTransientError, Selection
from laneway.api.reasons import ResetSource, RunCondition, Waiting
from laneway.api.runstatus import BackoffStatus
from laneway.controller.chain.survey import Survey
from laneway.controller.facts.objects import Run
from laneway.rules.backoff import jitter
from laneway.rules.chain import Shut, from_top, least_busy, lists_full, reached, walk

_ROUNDING = timedelta(seconds=1)
"""Times in status are whole seconds."""


def choose(survey: Survey, *, stands_in_line: bool) -> int | None:
    """The step to be on; None: no step is open. ``stands_in_line``: its lane has looked at the run and had no slot for it."""
    found = _choose(survey, stands_in_line=stands_in_line)
    if found is not None or survey.run.spec.on_transient_error is not OnTransientError.SKIP:
        return found
    bold = survey.without_estimates()
    if bold.current is not None and bold.current not in bold.shut:
        return bold.current
    return from_top(bold.links, bold.shut)


def _choose(survey: Survey, *, stands_in_line: bool) -> int | None:
    run, current, shut = survey.run, survey.current, survey.shut
    is_open = current is not None and current not in shut
    if is_open and run.status.step is not None and run.status.step.asked:
        return current
    if holds_its_place(survey):
        above = from_top(survey.links, shut)
        return above if current is not None and above is not None and above <= current else None
    if is_open and current is not None and run.status.next_attempt_time is None and not _compares(run):
        return _in_line(survey, current) if stands_in_line else current
    return _from_scratch(survey)


def _compares(run: Run) -> bool:
    """Whether all steps are weighed against each other: for LeastBusy, until the run stands in line somewhere."""
    told = any(c.type == RunCondition.ADMITTED and c.reason == Waiting.WAITING_FOR_SLOT for c in run.status.conditions)
    return run.spec.selection is Selection.LEAST_BUSY and not told


def holds_its_place(survey: Survey) -> bool:
    """Whether the run waits for the very model that failed, because the server says that it is back soon (C10b)."""
    run, backoff = survey.run, survey.run.status.backoff
    planned = run.status.next_attempt_time
    if backoff is None or planned is None or survey.now >= planned or survey.current is None:
        return False
    lane = survey.steps[survey.current].lane
    on_it = run.status.step is not None and backoff.step.lane == run.status.step.lane
    return lane is not None and on_it and is_soon(backoff, timedelta(seconds=lane.spec.fallback_after_seconds))


def is_soon(backoff: BackoffStatus, within: timedelta) -> bool:
    """Whether the server itself named a time that is near."""
    named = backoff.source in {ResetSource.SERVER_EVENT, ResetSource.RETRY_AFTER}
    until = backoff.applied_reset_time
    return named and until is not None and until - backoff.since_time <= within


def came_early(run: Run, now: datetime) -> bool:
    """Whether a step became free before the moment that the run's wait was worked out from: a person or a success freed it.

    Else the model is back as planned, and the run waits for its own share of the spread that keeps runs from coming back together.
    """
    planned = run.status.next_attempt_time
    spread = jitter(run.meta.uid, run.status.attempt or 0)
    return planned is None or now < planned - spread - _ROUNDING


def step_after(survey: Survey, *, failed: int | None, because: Shut) -> int | None:
    """The step to go to at once when the model of one has failed: below it if one is open there, else from the top. None: wait."""
    if failed is None:
        return _from_scratch(survey)
    shut = {**survey.shut, failed: because}
    if survey.run.spec.selection is Selection.LEAST_BUSY:
        return least_busy(survey.links, _open(survey, shut), survey.runs())
    down = walk(survey.links, shut, failed=failed, because=because)
    return from_top(survey.links, shut) if down is None else down


def _from_scratch(survey: Survey) -> int | None:
    if survey.run.spec.selection is Selection.LEAST_BUSY:
        return least_busy(survey.links, _open(survey, survey.shut), survey.runs())
    return from_top(survey.links, survey.shut)


def _in_line(survey: Survey, current: int) -> int:
    """Another step with a free slot: any for LeastBusy, else one above (C10e), else one below that lists Full."""
    if survey.has_room(current):
        return current
    above_or_meant = [number for number in _open(survey, survey.shut) if number != current and survey.has_room(number)]
    if survey.run.spec.selection is Selection.LEAST_BUSY:
        found = least_busy(survey.links, above_or_meant, survey.runs())
    else:
        found = next((number for number in above_or_meant if number < current), None)
    if found is None:
        found = next((number for number in _below_for_full(survey, current) if survey.has_room(number)), current)
    return found


def _open(survey: Survey, shut: Mapping[int, Shut]) -> list[int]:
    """Open steps that the run may be on: those that causes lead to; for LeastBusy also those that list none."""
    led = set(reached(survey.links, shut))
    any_goes = survey.run.spec.selection is Selection.LEAST_BUSY
    return [
        number
        for number, link in enumerate(survey.links)
        if number not in shut and (number in led or (any_goes and not link.causes))
    ]


def _below_for_full(survey: Survey, current: int) -> list[int]:
    below = range(current + 1, len(survey.links))
    return [number for number in below if number not in survey.shut and lists_full(survey.links[number])]
