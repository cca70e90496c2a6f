"""AgentRuns and ModelLanes as lines of a table. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from laneway.api.modellane import CooldownMode, ModelLaneSpec, ModelLaneStatus
from laneway.api.names import RETRY_OF_LABEL
from laneway.api.reasons import Cause, LaneCondition, Phase, ResetSource
from laneway.cli.tables import Colour, age
from laneway.rules import records
from laneway.rules.cooldown import Cooldown, Health
from laneway.rules.wording import clock, cooling

COLOURS = {
    Phase.SUCCEEDED: Colour.GREEN,
    Phase.RUNNING: Colour.GREEN,
    Phase.FAILED: Colour.RED,
    Phase.BACKING_OFF: Colour.YELLOW,
    Phase.PAUSED: Colour.YELLOW,
    Phase.SUSPENDED: Colour.GREY,
    "True": Colour.GREEN,
    "False": Colour.RED,
    "Unknown": Colour.YELLOW,
}
RUN_HEADS = ("NAME", "LANE", "MODEL", "PHASE", "REASON", "TURNS", "TOKENS", "COST", "RETRY AT", "AGE")
RUN_WIDE = ("PLACE", "ATTEMPT", "POD", "RETRY OF")
LANE_HEADS = ("LANE", "READY", "RUNS", "QUEUED", "BACKING OFF", "MODELS")
LANE_WIDE = ("REASON", "SERVER", "URL", "AGE")


@dataclass(frozen=True)
class NamedLane:
    """A lane and who it is."""

    namespace: str
    name: str
    created: datetime
    spec: ModelLaneSpec
    status: ModelLaneStatus


def run_row(obj: dict[str, Any], now: datetime, *, everywhere: bool, wide: bool) -> tuple[str, ...]:
    """One run. What is not known is an empty cell."""
    meta, status = obj["metadata"], obj.get("status") or {}
    step, usage = status.get("step") or {}, status.get("usage") or {}
    attempts = status.get("attempts") or [{}]
    home = step.get("namespace") == meta["namespace"]
    lane = step.get("lane", "") if home or not step else f"{step['namespace']}/{step['lane']}"
    retry = status.get("nextAttemptTime")
    cells = (
        meta["name"],
        lane,
        step.get("model"),
        status.get("phase"),
        status.get("reason"),
        usage.get("turns"),
        usage.get("totalTokens"),
        usage.get("costUSD"),
        clock(datetime.fromisoformat(retry), now) if retry else None,
        age(now - datetime.fromisoformat(meta["creationTimestamp"])),
    )
    more = (
        (status.get("queue") or {}).get("position"),
        status.get("attempt"),
        attempts[-1].get("pod"),
        (meta.get("labels") or {}).get(RETRY_OF_LABEL),
    )
    first = (meta["namespace"],) if everywhere else ()
    return tuple("" if cell is None else str(cell) for cell in (*first, *cells, *(more if wide else ())))


def lane_row(
    lane: NamedLane, accounts: Sequence[Health], now: datetime, *, everywhere: bool, wide: bool
) -> tuple[str, ...]:
    """One lane; ``accounts``: what it and the lanes that share its account know of that."""
    ready = next((one for one in lane.status.conditions if one.type == LaneCondition.READY), None)
    models = [_model_words(lane, model.name, accounts, now) for model in lane.spec.models]
    cells = (
        f"{lane.namespace}/{lane.name}" if everywhere else lane.name,
        ready.status if ready else "",
        "" if lane.status.active_runs is None else f"{lane.status.active_runs}/{lane.spec.capacity.runs}",
        _known(lane.status.queued_runs),
        _known(lane.status.backing_off_runs),
        f"{'suspended; ' if lane.spec.suspend else ''}{', '.join(models)}",
    )
    more = (
        ready.reason if ready else "",
        lane.spec.endpoint.server.value,
        lane.spec.endpoint.url,
        age(now - lane.created),
    )
    return (*cells, *(more if wide else ()))


def _known(number: int | None) -> str:
    return "" if number is None else str(number)


def _model_words(lane: NamedLane, model: str, accounts: Sequence[Health], now: datetime) -> str:
    cooldown = cooldown_of(lane, model, accounts, now)
    if cooldown is not None:
        return f"{model} {cooling(cooldown, now)}"
    if not lane.status.conditions:
        return model
    served = next((one.served for one in lane.status.models if one.name == model), None)
    return f"{model} not served" if served is False else f"{model} free"


def cooldown_of(lane: NamedLane, model: str, accounts: Sequence[Health], now: datetime) -> Cooldown | None:
    """What keeps everybody from a model now: its own cooldown or that of its account, whichever ends last.

    A Hold counts from when it is written, whether the operator has looked at it yet or not.
    """
    own = records.model_record(lane.status, model)
    known = records.longest_cooldown(own, accounts, records.cleared_at(lane.spec, model), now)
    said = next((one for one in lane.spec.cooldowns if one.model == model and one.mode is CooldownMode.HOLD), None)
    hold = Cooldown(Cause.MANUAL, ResetSource.MANUAL, said.until) if said else None
    return known or (hold if hold and hold.holds(now) else None)


def accounts_by_lane(lanes: Iterable[NamedLane]) -> Mapping[tuple[str, str], list[Health]]:
    """What is known of each lane's account, on whichever of ``lanes`` it was learned."""
    every = list(lanes)
    keys = {(one.namespace, one.name): records.account_key(one.namespace, one.spec) for one in every}
    own = {(one.namespace, one.name): records.account_record(one.status) for one in every}
    return {
        lane: [own[other] for other in keys if other == lane or (key is not None and keys[other] == key)]
        for lane, key in keys.items()
    }
