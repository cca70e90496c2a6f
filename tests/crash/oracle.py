"""What must hold of every trial, set against a scenario without faults."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from crash.trial import Outcome
from support.faultproxy import Write

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
    in two, as it comes. ``hits`` is the number of kills and of writes that failed. Each may make one status write more (what was told before is told
    on the way to the same end) or one less (what happened during the wait for the next try is told at once), and may repeat one deletion of a pod.
    Events are the same, once each; an operator that is gone may have taken some with it.

    A lane's status takes several changes in one write as it comes. Each of its writes follows a change of one of its runs, or of the lane itself
    (that it is ready, once for each operator and each gateway), so there are no more of them than of both. No status is written that says
    nothing new: the object's version is another one after each.
    """
    found = plain.ending.differences(outcome.ending, but=but)
    if outcome.most_pods > 1:
        found.append(f"{outcome.most_pods} pods at once on a lane of one slot")
    found += [f"written although nothing had changed: {write.asked}" for write in outcome.later]
    found += [f"an Event of its own: {line}" for line in (Counter(outcome.told) - Counter(plain.told)).elements()]
    if outcome.starts == 1:
        found += [f"an Event less: {line}" for line in (Counter(plain.told) - Counter(outcome.told)).elements()]
    found += [f"it says nothing new: {write.asked}" for write in _nothing_new(outcome)]
    return found + _other_writes(outcome, plain, hits) + _too_many_of_lanes(outcome)


def _nothing_new(outcome: Outcome) -> Iterator[Write]:
    versions: dict[tuple[str, str], str] = {}
    for write in outcome.writes:
        what = (write.asked.resource, write.asked.name)
        if not write.done or what[0] not in {_RUNS, _LANES}:
            continue
        if versions.get(what) == write.version:
            yield write
        versions[what] = write.version


def _too_many_of_lanes(outcome: Outcome) -> list[str]:
    """Writes of lanes, set against what they may follow."""
    count = Counter(write.asked.resource for write in outcome.writes if write.done)
    most = count[_RUNS] + len(outcome.ending.lanes) * (outcome.starts + outcome.gateways)
    return [f"{count[_LANES]} writes of lanes, at most {most}"] if count[_LANES] > most else []


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
