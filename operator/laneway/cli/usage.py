"""``kubectl laneway usage``: what runs have used, from their status, or from the ledger where only that knows."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from laneway.api.agentrun import AgentRun
from laneway.api.base import format_time
from laneway.api.grouping import GroupBy
from laneway.api.ledgersums import LedgerSum
from laneway.api.runstatus import AgentRunStatus
from laneway.cli import bill, ledger, used
from laneway.cli.bill import Line
from laneway.cli.door import CommandError, Door, parsed
from laneway.cli.listing import named
from laneway.cli.rows import NamedLane
from laneway.cli.tables import table
from laneway.cli.used import NAMES, UsedRun
from laneway.kube.errors import Forbidden
from laneway.kube.resources import AGENT_RUNS, MODEL_LANES, JsonObject

_UID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


@dataclass(frozen=True)
class Wanted:
    """What is asked."""

    by: GroupBy = GroupBy.RUN
    run: str | None = None
    since: datetime | None = None
    ledger: bool = False
    """Read the ledger though the status of runs would do: it knows runs that were deleted."""
    everywhere: bool = False
    selector: str | None = None
    output: str | None = None
    """wide, json or csv; None: a table."""
    gateway_namespace: str = "laneway-system"

    @property
    def from_ledger(self) -> bool:
        """Whether only the ledger can tell."""
        return self.ledger or self.since is not None or self.by is GroupBy.DAY


async def usage(door: Door, wanted: Wanted) -> None:
    """Print what was used. Raises CommandError, KubeError."""
    lines = await (_from_ledger(door, wanted) if wanted.from_ledger else _from_status(door, wanted))
    match wanted.output:
        case "json":
            sys.stdout.write(f"{json.dumps(_document(lines, wanted), indent=4)}\n")
        case "csv":
            sys.stdout.write(bill.csv_text(lines, _names(wanted)))
        case _:
            _print(door, lines, wanted)


def _print(door: Door, lines: Sequence[Line], wanted: Wanted) -> None:
    if not lines:
        where = "" if wanted.everywhere else f" in {door.namespace} namespace"
        sys.stderr.write(f"Nothing was used{where}.\n")
        return
    heads = [name.upper() for name in _names(wanted)]
    sys.stdout.write(table(*bill.table_of(lines, heads, wide=wanted.output == "wide")))
    for note in bill.notes(lines, unit="call" if wanted.from_ledger else "run"):
        sys.stdout.write(f"{note}\n")
    if not wanted.from_ledger and wanted.run is None:
        sys.stdout.write("(runs that exist, by their status; --ledger adds those that were deleted)\n")


def _document(lines: Sequence[Line], wanted: Wanted) -> JsonObject:
    return {
        "by": wanted.by.value,
        "from": "ledger" if wanted.from_ledger else "status",
        "since": format_time(wanted.since) if wanted.since else None,
        "lines": [bill.record(line) for line in lines],
    }


def _names(wanted: Wanted) -> tuple[str, ...]:
    in_namespace = wanted.by in {GroupBy.RUN, GroupBy.CALLER} and wanted.everywhere
    return (*(("namespace",) if in_namespace else ()), *NAMES[wanted.by])


# From status


async def _from_status(door: Door, wanted: Wanted) -> list[Line]:
    if wanted.run is not None:
        objects = [await door.get(AGENT_RUNS, wanted.run)]
    else:
        namespace = None if wanted.everywhere else door.namespace
        objects = (await door.kube.list(AGENT_RUNS, namespace=namespace, label_selector=wanted.selector)).items
    runs = [_run(obj) for obj in objects]
    if wanted.by is GroupBy.LANE and (moved := used.moved_runs(runs)):
        sys.stderr.write(
            f"{moved} of the runs went to another lane in the middle of an attempt, all of which is counted there;"
            " --ledger tells them apart\n"
        )
    lines = used.lines_of(runs, wanted.by, everywhere=wanted.everywhere)
    return await _with_limits(door, lines, wanted)


def _run(obj: JsonObject) -> UsedRun:
    run, meta = parsed(AgentRun, obj), obj["metadata"]
    return UsedRun(meta["namespace"], meta["name"], meta["uid"], run.spec, run.status or AgentRunStatus())


# From the ledger


async def _from_ledger(door: Door, wanted: Wanted) -> list[Line]:
    if wanted.selector is not None:
        raise CommandError("the ledger knows no labels; leave -l away, or --since, --ledger and --by day")
    question = ledger.Question(
        by=wanted.by,
        since=wanted.since,
        namespace=None if wanted.everywhere else door.namespace,
        run_uid=await _uid(door, wanted.run) if wanted.run else None,
    )
    found = await ledger.sums(door, question, gateway_namespace=wanted.gateway_namespace)
    names = await _run_names(door, wanted) if wanted.by is GroupBy.RUN else {}
    lines = [bill.line_of(one, _group(one, wanted, names)) for one in found]
    return await _with_limits(door, lines, wanted)


async def _uid(door: Door, run: str) -> str:
    """The uid of a run; one that was deleted is known by that alone."""
    if _UID.fullmatch(run):
        return run
    return str((await door.get(AGENT_RUNS, run))["metadata"]["uid"])


async def _run_names(door: Door, wanted: Wanted) -> dict[str, str]:
    """Names of the runs that exist, by uid; without them uids are shown."""
    try:
        lines, _ = await door.kube.lines(AGENT_RUNS, namespace=None if wanted.everywhere else door.namespace)
    except Forbidden:
        return {}
    return {line.uid: line.key.name for line in lines}


def _group(one: LedgerSum, wanted: Wanted, runs: Mapping[str, str]) -> dict[str, str | None]:
    values = {
        "namespace": one.namespace,
        "run": runs.get(one.run_uid or "", one.run_uid),
        "lane": f"{one.lane_namespace}/{one.lane}",
        "model": one.model,
        "day": one.day,
        "caller": one.caller,
    }
    return {name: values[name] for name in _names(wanted)}


# Limits


async def _with_limits(door: Door, lines: Sequence[Line], wanted: Wanted) -> list[Line]:
    """The lines with the limits of lanes, where they are by what such limits are by, and may be read."""
    if wanted.by not in {GroupBy.NAMESPACE, GroupBy.LANE}:
        return list(lines)
    lanes = await _lanes(door)
    key = wanted.by.value
    return [
        replace(line, limit=used.spend_share(lanes, door.now, **{key: name})) if (name := line.names[key]) else line
        for line in lines
    ]


async def _lanes(door: Door) -> list[NamedLane]:
    """Lanes of all namespaces, of one's own for somebody who may not list those, or none."""
    for namespace in (None, door.namespace):
        try:
            return [named(obj) for obj in (await door.kube.list(MODEL_LANES, namespace=namespace)).items]
        except Forbidden:
            continue
    return []
