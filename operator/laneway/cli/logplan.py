"""Which attempts of a run have a log, and what is said between two of them. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from laneway.api.reasons import RunCondition
from laneway.api.runstatus import Attempt
from laneway.cli.why import Asked
from laneway.rules.wording import step_name


@dataclass(frozen=True)
class Part:
    """The log of one attempt."""

    number: int
    pod: str | None
    """None: it has no pod yet."""
    words: str
    """Which attempt it is, for people."""
    ended: bool


def parts_of(asked: Asked, *, attempt: int | None = None, previous: bool = False) -> list[Part]:
    """The attempts that were asked for, oldest first: all that the status keeps, number ``attempt``, or the one before the latest.

    Raises ValueError with a sentence if that one is not there.
    """
    kept = asked.status.attempts
    if previous:
        if len(kept) < 2:  # noqa: PLR2004 - the latest and the one before
            raise ValueError(f"{asked.name} has had no attempt before its latest")
        return [_part(asked, kept[-2])]
    if attempt is None:
        return [_part(asked, one) for one in kept]
    found = [_part(asked, one) for one in kept if one.id == attempt]
    if not found:
        raise ValueError(f"{asked.name} has no attempt {attempt}; {_which(asked)}")
    return found


def next_part(asked: Asked, after: int) -> Part | None:
    """The first attempt that is later than one; None while there is none."""
    return next((_part(asked, one) for one in asked.status.attempts if one.id > after), None)


def is_over(asked: Asked) -> bool:
    """Whether the run has ended."""
    finished = asked.condition(RunCondition.FINISHED)
    return finished is not None and finished.status == "True"


def has_ended(asked: Asked, number: int) -> bool:
    """Whether an attempt has ended."""
    return is_over(asked) or all(one.end_time is not None for one in asked.status.attempts if one.id <= number)


def waits(asked: Asked) -> str:
    """What the run waits for, where it has no slot; empty where it has one, or nobody has looked at it yet."""
    admitted = asked.condition(RunCondition.ADMITTED)
    if admitted is None or admitted.status == "True" or is_over(asked):
        return ""
    return f"{asked.name} waits ({admitted.reason}){_colon(admitted.message)}"


def end(asked: Asked) -> str:
    """How the run has ended."""
    finished, succeeded = asked.condition(RunCondition.FINISHED), asked.condition(RunCondition.SUCCEEDED)
    how = "ended well" if succeeded and succeeded.status == "True" else "failed"
    return f"{asked.name} {how} as {finished.reason}{_colon(finished.message)}" if finished else ""


def _part(asked: Asked, attempt: Attempt) -> Part:
    step = step_name(attempt.step.namespace, attempt.step.lane, attempt.step.model, home=asked.namespace)
    return Part(
        number=attempt.id,
        pod=attempt.pod,
        words=f"attempt {attempt.id} of {asked.name} on {step}",
        ended=attempt.end_time is not None or is_over(asked),
    )


def _which(asked: Asked) -> str:
    numbers = [one.id for one in asked.status.attempts]
    if not numbers:
        return "it has had none yet"
    return f"its status has {numbers[0]}" + (f" to {numbers[-1]}" if len(numbers) > 1 else "")


def _colon(message: str) -> str:
    return f": {message.strip().rstrip('.')}" if message.strip() else ""
