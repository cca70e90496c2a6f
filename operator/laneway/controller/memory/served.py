"""When each caller last got a slot of a lane: between callers with equally many runs, who was served longest ago goes first (C8).

Read once from the runs in the cache, finished ones included; then kept in step with our own grants, finer than the whole seconds of a status. Losing
it loses nothing that status does not have, except for callers whose runs were all deleted: for those the lane's status has the time too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from laneway.controller.facts.pods import parse_time
from laneway.kube.resources import JsonObject, Key
from laneway.rules.fairshare import Caller

CALLERS_KEPT = 1000
"""For each lane. Who was served before all of them counts as never served, and so goes first as it should."""


class Served:
    """Times by lane and caller."""

    def __init__(self, runs: Iterable[JsonObject]) -> None:
        self._lanes: dict[Key, dict[Caller, datetime]] = {}
        for run in runs:
            self._read(run)

    def on_lane(self, lane: Key) -> Mapping[Caller, datetime]:
        """When each caller last got a slot of this lane."""
        return self._lanes.get(lane, {})

    def note(self, lane: Key, caller: Caller, moment: datetime) -> None:
        """A caller got a slot."""
        times = self._lanes.setdefault(lane, {})
        times[caller] = max(moment, times.get(caller, moment))
        if len(times) > CALLERS_KEPT:
            del times[min(times, key=lambda known: (times[known], known))]

    def _read(self, run: JsonObject) -> None:
        caller = Caller(run["metadata"]["namespace"], str((run.get("spec") or {}).get("caller") or ""))
        for attempt in (run.get("status") or {}).get("attempts") or ():
            step, got = attempt.get("step") or {}, attempt.get("movedTime") or attempt.get("admittedTime")
            if got and "lane" in step and "namespace" in step:
                self.note(Key(step["namespace"], step["lane"]), caller, parse_time(got))
