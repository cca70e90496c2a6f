"""How the attempts of a lane's models ended: failures of model calls, and on Direct lanes, where no gateway tells, successes.

Read once from the runs in the cache, finished ones included; then kept in step with every pass over a run. So a lane hears of a run that ended
with its first failure, and a pass over a lane with ten thousand waiting runs reads none of their attempts. Losing it loses nothing that the
runs do not have.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime

from pydantic import ValidationError

from laneway.api.reasons import Outcome
from laneway.api.runstatus import Attempt
from laneway.controller.health.records import evidence_of
from laneway.kube.resources import JsonObject, Key
from laneway.rules.cooldown import Evidence

TROUBLES_KEPT = 32
"""For each model. Of one outage the first failure counts, and a server's later word; all others are noise."""


class Outcomes:
    """Failures and successes by lane and model."""

    def __init__(self, runs: Iterable[JsonObject]) -> None:
        self._troubles: dict[Key, dict[str, tuple[Evidence, ...]]] = defaultdict(dict)
        self._successes: dict[Key, dict[str, datetime]] = defaultdict(dict)
        for run in runs:
            self.note(run)

    def troubles(self, lane: Key) -> Mapping[str, tuple[Evidence, ...]]:
        """Failures that ended attempts, by model, the earliest first."""
        return self._troubles.get(lane, {})

    def successes(self, lane: Key) -> Mapping[str, datetime]:
        """When the latest attempt began that ended well, by model."""
        return self._successes.get(lane, {})

    def note(self, run: JsonObject) -> set[Key]:
        """Take in the attempts of a run; the lanes that learn something new."""
        attempts = (run.get("status") or {}).get("attempts") or ()
        ended = (one for one in attempts if one.get("trouble") or one.get("outcome") == Outcome.SUCCEEDED)
        return {lane for attempt in map(_read, ended) if attempt and (lane := self._note(attempt))}

    def _note(self, attempt: Attempt) -> Key | None:
        lane, model = Key(attempt.step.namespace, attempt.step.lane), attempt.step.model
        if attempt.trouble and attempt.cause:
            return lane if self._failed(lane, model, evidence_of(attempt.cause, attempt.trouble)) else None
        began = attempt.start_time or attempt.admitted_time
        known = self._successes[lane].get(model)
        if attempt.outcome is not Outcome.SUCCEEDED or began is None or (known and began <= known):
            return None
        self._successes[lane][model] = began
        return lane

    def _failed(self, lane: Key, model: str, evidence: Evidence) -> bool:
        known = self._troubles[lane].get(model, ())
        kept = tuple(sorted({*known, evidence}, key=_order)[-TROUBLES_KEPT:])
        self._troubles[lane][model] = kept
        return kept != known


def _read(attempt: JsonObject) -> Attempt | None:
    """An attempt; None for one of another version: its run's own pass says what is wrong with it."""
    try:
        return Attempt.model_validate(attempt)
    except ValidationError:
        return None


def _order(evidence: Evidence) -> tuple[datetime, datetime, str]:
    return evidence.seen, evidence.sent, repr(evidence)
