"""``kubectl laneway cooldown set|clear|list``: a person's word on a model, in ``spec.cooldowns`` of its lane."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from datetime import datetime

from laneway.api.base import format_time
from laneway.api.modellane import CooldownMode, ManualCooldown
from laneway.cli.door import CommandError, Door
from laneway.cli.gitops import warning
from laneway.cli.listing import named, write_table
from laneway.cli.rows import NamedLane, accounts_by_lane, cooldown_of
from laneway.cli.spans import moment_of, span_of
from laneway.kube.errors import Conflict
from laneway.kube.resources import MODEL_LANES, JsonObject
from laneway.rules import records
from laneway.rules.cooldown import Health, ceil_second
from laneway.rules.wording import CAUSES, source

_TRIES = 5
HEADS = ("MODEL", "UNTIL", "WHY", "WHO SAYS SO", "BY HAND", "SET")

Entries = list[ManualCooldown]
Change = Callable[[NamedLane, list[Health]], Entries]
"""A lane, and what is known of its account, to the entries that replace those of the same models."""


async def hold(door: Door, lane: str, model: str, until: datetime | None) -> None:
    """Nobody uses the model until then, or until it is cleared. Raises CommandError, KubeError."""
    if until is not None and until <= door.now:
        raise CommandError(f"{format_time(until)} is past")

    def entries(found: NamedLane, accounts: list[Health]) -> Entries:
        _known(found, model)
        return [ManualCooldown(model=model, mode=CooldownMode.HOLD, until=until, set_time=ceil_second(door.now))]

    changed, _ = await _change(door, lane, entries)
    end = f"until {format_time(until)}" if until else "until somebody clears it"
    _say(
        f"modellane.laneway.dev/{lane}: {model} is held {end}.",
        f"To let it go: kubectl laneway cooldown clear {lane} {model} -n {door.namespace}",
        warning(changed, "cooldowns"),
    )


async def clear(door: Door, lane: str, model: str | None) -> None:
    """Forget what is known of the model and its account, so that it is used at once. Raises CommandError, KubeError."""

    def entries(found: NamedLane, accounts: list[Health]) -> Entries:
        if model is not None:
            _known(found, model)
        cooling = [model] if model is not None else to_clear(found, accounts, door.now)
        return [clear_entry(found, one, accounts, door.now) for one in cooling]

    changed, made = await _change(door, lane, entries)
    if not made:
        _say(f"modellane.laneway.dev/{lane}: no model is cooling or held; there is nothing to clear.")
        return
    names = ", ".join(entry.model for entry in made)
    _say(
        f"modellane.laneway.dev/{lane}: {names} cleared; runs that wait for that begin at once.",
        warning(changed, "cooldowns"),
    )


async def show(door: Door, lane: str, model: str | None) -> None:
    """Print each model of a lane with its cooldown and what a person said of it. Raises CommandError, KubeError."""
    found, accounts = named(await door.get(MODEL_LANES, lane)), await _accounts(door, lane)
    if model is not None:
        _known(found, model)
    rows = [row(found, one.name, accounts, door.now) for one in found.spec.models if model in (None, one.name)]
    write_table(HEADS, rows, colours=door.colours)


def row(lane: NamedLane, model: str, accounts: Sequence[Health], now: datetime) -> tuple[str, ...]:
    """One model: until when it is not used and why; what a person said of it, and when."""
    cooldown = cooldown_of(lane, model, accounts, now)
    said = next((entry for entry in lane.spec.cooldowns if entry.model == model), None)
    by_hand = (said.mode.value, format_time(said.set_time) if said.set_time else "") if said else ("", "")
    if cooldown is None:
        return (model, "", "", "", *by_hand)
    until = format_time(cooldown.until) if cooldown.until else "somebody acts"
    return (model, until, CAUSES[cooldown.cause], source(cooldown.source), *by_hand)


def to_clear(lane: NamedLane, accounts: Sequence[Health], now: datetime) -> list[str]:
    """The models that nobody may use now."""
    return [one.name for one in lane.spec.models if cooldown_of(lane, one.name, accounts, now)]


def clear_entry(lane: NamedLane, model: str, accounts: Sequence[Health], now: datetime) -> ManualCooldown:
    """The entry that forgets all that is known now; by the cluster's clock too, if that is ahead of the person's."""
    known = (records.model_record(lane.status, model), *accounts)
    learned = [moment for one in known for moment in (one.last_failure, one.mark) if moment]
    return ManualCooldown(model=model, mode=CooldownMode.CLEAR, set_time=ceil_second(max([now, *learned])))


def with_entries(lane: NamedLane, entries: Sequence[ManualCooldown]) -> list[JsonObject]:
    """The lane's whole list, which a merge patch replaces: entries of other models stay."""
    changed = {entry.model for entry in entries}
    kept = [entry for entry in lane.spec.cooldowns if entry.model not in changed]
    return [entry.to_wire() for entry in (*kept, *entries)]


def until_of(span: str | None, moment: str | None, now: datetime) -> datetime | None:
    """The end of a hold by ``--for`` or ``--until``; None for neither. Raises ValueError."""
    if span is not None:
        return ceil_second(now + span_of(span))
    return None if moment is None else ceil_second(moment_of(moment))


async def _change(door: Door, lane: str, entries: Change) -> tuple[JsonObject, Entries]:
    """Change the list as it was read; read again when somebody else was faster. Answers the lane then, and what was put in."""
    accounts = await _accounts(door, lane)
    for last in (*[False] * (_TRIES - 1), True):
        obj = await door.get(MODEL_LANES, lane)
        found = named(obj)
        made = entries(found, accounts)
        if not made:
            return obj, made
        try:
            return await door.patch(MODEL_LANES, obj, {"cooldowns": with_entries(found, made)}, same=True), made
        except Conflict:
            if last:
                raise
    raise AssertionError("the last try answers or raises")


async def _accounts(door: Door, lane: str) -> list[Health]:
    """What is known of the lane's account, also by the lanes that share it. Raises CommandError if there is no such lane."""
    await door.get(MODEL_LANES, lane)
    listing = await door.kube.list(MODEL_LANES, namespace=door.namespace)
    return accounts_by_lane([named(obj) for obj in listing.items]).get((door.namespace, lane), [])


def _known(lane: NamedLane, model: str) -> None:
    names = [one.name for one in lane.spec.models]
    if model not in names:
        raise CommandError(f"lane {lane.name} has no model {model}; it has {', '.join(names)}")


def _say(*sentences: str) -> None:
    sys.stdout.write("".join(f"{sentence}\n" for sentence in sentences if sentence))
