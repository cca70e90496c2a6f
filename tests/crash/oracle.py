"""What must hold of every trial, set against a scenario without faults."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from crash.trial import Outcome

_LANES = "modellanes/status"
_RUNS = "agentruns/status"


def wrongs(
    outcome: Outcome, plain: Outcome, *, hits: int, but: Callable[[str], bool] = lambda path: False
) -> list[str]:
    """What does not hold, in words; empty if all does.

    The end is the same: status of runs and lanes whole, but for times and uids, and the paths that ``but`` names; the names of all pods ever
    made; children. No lane ever had more pods than slots. Nothing is written when everything is looked at again. Pods and children were made
    and stopped, and specs patched, as often as without faults.

    The status of a run is written as often, but for the starts of its attempts: that a pod was made and that its agent works is told in one write or
    in two, as it comes. ``hits`` is the number of kills and of writes that failed. Without any, the Events are the same. Each hit may make one status write more (what was told before is told on the way to the same end) or one less (what happened
    during the wait for the next try is told at once), may repeat one deletion of a pod, and may cost Events, which are worth no second try. A
    lane's status takes several changes in one write as it comes; their number is not compared.
    """
    found = plain.ending.differences(outcome.ending, but=but)
    if outcome.most_pods > 1:
        found.append(f"{outcome.most_pods} pods at once on a lane of one slot")
    found += [f"written although nothing had changed: {write.asked}" for write in outcome.later]
    found += [f"an Event of its own: {line}" for line in (Counter(outcome.told) - Counter(plain.told)).elements()]
    if not hits:
        found += [f"an Event less: {line}" for line in (Counter(plain.told) - Counter(outcome.told)).elements()]
    return found + _other_writes(outcome, plain, hits)


def _other_writes(outcome: Outcome, plain: Outcome, hits: int) -> list[str]:
    mine, theirs = outcome.done, plain.done

    def slack(what: tuple[str, str, str]) -> int:
        if what[1] == _RUNS:
            return hits + len(plain.ending.pods.get(what[2], ()))
        return hits + plain.deleted_again if what[0] == "DELETE" else 0

    return [
        f"{' '.join(what)}: {mine[what]} times, {theirs[what]} without faults"
        for what in sorted(mine.keys() | theirs.keys())
        if what[1] != _LANES and abs(mine[what] - theirs[what]) > slack(what)
    ]


def refused(outcome: Outcome) -> Counter[str]:
    """Writes that the API server itself refused: that is how what was done already is not done twice."""
    return Counter(
        f"{write.asked.verb} {write.asked.resource} answered {write.code}"
        for write in outcome.writes
        if not write.done and not write.fault
    )
