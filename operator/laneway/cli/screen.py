"""One screen of ``kubectl laneway top``: lanes, and the runs that matter now. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from laneway.api.reasons import Phase
from laneway.cli.rows import COLOURS, LANE_HEADS, RUN_HEADS, NamedLane, accounts_by_lane, lane_row, run_row
from laneway.cli.tables import table
from laneway.rules.wording import clock

_ESCAPE = re.compile(r"(\x1b\[[0-9;]*m)")
_RESET = "\x1b[0m"
_ORDER = (
    Phase.RUNNING,
    Phase.STARTING,
    Phase.QUEUED,
    Phase.BACKING_OFF,
    Phase.PAUSED,
    Phase.SUSPENDED,
    Phase.PENDING,
    Phase.FAILED,
    Phase.SUCCEEDED,
)
_ENDED = frozenset({Phase.FAILED, Phase.SUCCEEDED})
_LAST = 1_000_000


@dataclass(frozen=True)
class Sight:
    """What is known at one moment."""

    lanes: Sequence[NamedLane]
    runs: Sequence[dict[str, Any]]
    now: datetime
    where: str
    """Namespace that is shown; empty: all."""
    silent_seconds: int = 0
    """How long ago the API server was last heard of, if that is long."""


def lines_of(sight: Sight, *, colours: bool) -> list[str]:
    """The whole of it: a head, the lanes, the runs; those at work first, then those that wait by their place, the ended last."""
    everywhere = not sight.where
    accounts = accounts_by_lane(sight.lanes)
    lanes = [
        lane_row(one, accounts[one.namespace, one.name], sight.now, everywhere=everywhere, wide=False)
        for one in sorted(sight.lanes, key=lambda lane: (lane.namespace, lane.name))
    ]
    runs = [run_row(obj, sight.now, everywhere=everywhere, wide=False) for obj in sorted(sight.runs, key=_place)]
    shown = COLOURS if colours else None
    heads = (*(("NAMESPACE",) if everywhere else ()), *RUN_HEADS)
    return [
        _head(sight),
        "",
        *table(LANE_HEADS, lanes, colours=shown).splitlines(),
        "",
        *table(heads, runs, colours=shown).splitlines(),
    ]


def fitted(lines: Sequence[str], *, columns: int, rows: int) -> list[str]:
    """Lines cut to the size of a terminal; the last one says how many are missing."""
    shown = list(lines)
    if len(shown) > rows:
        shown = [*shown[: rows - 1], f"... and {len(lines) - rows + 1} more lines"]
    return [_cut(line, columns) for line in shown]


def _head(sight: Sight) -> str:
    counts = Counter(_phase(obj) for obj in sight.runs)
    told = [f"{counts[phase]} {phase}" for phase in _ORDER if counts[phase]]
    silent = f"   nothing heard for {sight.silent_seconds} s" if sight.silent_seconds else ""
    return (
        f"{sight.where or 'all namespaces'}   {clock(sight.now, sight.now)}   runs: {', '.join(told) or 'none'}{silent}"
    )


def _place(obj: dict[str, Any]) -> tuple[int, int, float, str, str]:
    status, meta = obj.get("status") or {}, obj["metadata"]
    phase = _phase(obj)
    position = (status.get("queue") or {}).get("position", _LAST)
    moment = datetime.fromisoformat(status.get("completionTime") or meta["creationTimestamp"]).timestamp()
    return _ORDER.index(phase), position, -moment if phase in _ENDED else moment, meta["namespace"], meta["name"]


def _phase(obj: dict[str, Any]) -> Phase:
    found = (obj.get("status") or {}).get("phase")
    return next((phase for phase in Phase if phase == found), Phase.PENDING)


def _cut(line: str, columns: int) -> str:
    """As many characters as there are columns; colours take no place."""
    kept, left = [], columns
    for part in _ESCAPE.split(line):
        if _ESCAPE.fullmatch(part):
            kept.append(part)
        else:
            kept.append(part[:left])
            left -= len(kept[-1])
    coloured = any(_ESCAPE.fullmatch(part) for part in kept)
    return "".join(kept) + (_RESET if coloured else "")
