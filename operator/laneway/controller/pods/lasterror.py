"""What an attempt is told of the one before it, if that did not end well. Pure."""

from __future__ import annotations

import json

from laneway.api.reasons import Outcome
from laneway.api.runstatus import Attempt
from laneway.controller.facts.objects import Run


def last_error(run: Run, attempt: Attempt) -> str | None:
    """One JSON object, at most as long as the message of an attempt; None for a first attempt, and after a good one.

    It says what the run's status says, and nothing that stands in no status: no prompt and no key.
    """
    before = next((one for one in run.status.attempts if one.id == attempt.id - 1), None)
    if before is None or before.outcome is None or before.outcome is Outcome.SUCCEEDED:
        return None
    said = {"attempt": before.id, "outcome": before.outcome, "class": before.cause, "message": before.message}
    return json.dumps({name: value for name, value in said.items() if value is not None}, ensure_ascii=False)
