"""P3, the arithmetic: how long a slot stood empty, from when each pod was made and ended. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from bench.player import PodTimes


def refill_seconds(pods: Iterable[PodTimes], *, slots: int, since: float = 0.0) -> list[float]:
    """For every slot that came free after ``since``: the seconds until the next pod of its lane was seen.

    The n-th pod to end frees the slot of pod n + ``slots``, counted by lane. That holds while runs wait, so ends without a later pod are left out.
    """
    lanes: dict[str, list[PodTimes]] = defaultdict(list)
    for pod in pods:
        lanes[pod.lane].append(pod)
    found = []
    for lane in lanes.values():
        made = sorted(pod.created for pod in lane)
        freed = sorted(pod.ended for pod in lane if pod.ended is not None)
        found += [later - free for free, later in zip(freed, made[slots:], strict=False) if free >= since]
    return found
