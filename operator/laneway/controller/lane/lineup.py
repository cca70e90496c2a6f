"""From the view of a lane to its line: whose slots are in use, who is next, and what the lane's status says of its callers. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime

from laneway.api.modellane import CALLERS_SHOWN, LaneCaller
from laneway.controller.facts.objects import Run
from laneway.controller.facts.place import Place
from laneway.controller.facts.views import Held, LaneView, Walk
from laneway.rules.fairshare import Caller, Shares, fair_order
from laneway.rules.positions import EXACT_UP_TO, position_range


def slots_by_caller(view: LaneView, held: Iterable[Held]) -> Counter[Caller]:
    """How many slots each caller holds. A pod whose run is gone counts for its namespace; a slot of which nothing is known, for the lane's."""
    owners = {pod.run_uid: Caller(pod.namespace, "") for pod in view.pods}
    owners |= view.holders
    holding = [slot.run_uid for slot in held]
    those = frozenset(holding)
    owners |= {run.meta.uid: run.caller for run in view.runs if run.meta.uid in those}
    nobody = Caller(view.lane.meta.namespace, "")
    return Counter(owners.get(uid, nobody) for uid in holding)


def in_fair_order(
    view: LaneView, waiting: Iterable[Run | Walk], *, active: Mapping[Caller, int], served: Mapping[Caller, datetime]
) -> list[Run | Walk]:
    """Runs that lack nothing but a slot, in the order in which they get one."""
    weights = {share.namespace: share.weight for share in view.lane.spec.shares}
    return fair_order(waiting, Shares(running=active, served=served, weights=weights))


def served_times(view: LaneView) -> dict[Caller, datetime]:
    """When each caller last got a slot, by all that is known: memory, the lane's status, and the attempts of its runs."""
    lane = view.lane
    known = [(Caller(one.namespace, one.caller), one.last_served_time) for one in lane.status.callers]
    known += view.served.items()
    known += [
        (run.caller, attempt.slot_time)
        for run in view.runs
        for attempt in run.status.attempts
        if (attempt.step.namespace, attempt.step.lane) == lane.meta.key
    ]
    latest: dict[Caller, datetime] = {}
    for caller, moment in known:
        if moment is not None:
            latest[caller] = max(moment, latest.get(caller, moment))
    return latest


def place(rank: int, *, used: int, slots: int, on_trial: str = "") -> Place:
    """What a waiting run is told of its place; behind the tenth only what seldom changes."""
    first, last = position_range(rank)
    if rank > EXACT_UP_TO:
        return Place(position=last, used=min(used, slots), slots=slots, first=first)
    return Place(position=last, used=used, slots=slots, first=first, on_trial=on_trial)


def callers_shown(
    active: Mapping[Caller, int], queued: Mapping[Caller, int], served: Mapping[Caller, datetime]
) -> tuple[LaneCaller, ...]:
    """The callers for the lane's status: at most 20, those with the most runs first."""
    everyone = active.keys() | queued.keys()
    size = {caller: active.get(caller, 0) + queued.get(caller, 0) for caller in everyone}
    shown = sorted((caller for caller in everyone if size[caller]), key=lambda caller: (-size[caller], caller))
    return tuple(
        LaneCaller(
            namespace=caller.namespace,
            caller=caller.name,
            active=active.get(caller, 0),
            queued=queued.get(caller, 0),
            last_served_time=served.get(caller),
        )
        for caller in shown[:CALLERS_SHOWN]
    )
