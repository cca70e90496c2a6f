"""The status of a lane: its conditions, what is known of each model and of the account, and its counts. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from laneway.api.modellane import LaneCaller, LaneModelStatus, ModelLaneStatus
from laneway.api.reasons import LaneCondition, LaneReason
from laneway.controller.decision.status import Said, merge_conditions
from laneway.controller.ends.endings import GATEWAY_AWAY_FOR
from laneway.controller.facts.views import LaneView
from laneway.controller.health.cooling import LaneHealth
from laneway.controller.health.records import with_account_health, with_model_health
from laneway.controller.health.trial import Gate
from laneway.controller.lane.throttle import throttled, throttled_until
from laneway.controller.limits.spend import spend_status
from laneway.rules.timeouts import effective


@dataclass(frozen=True)
class Counts:
    """How many runs a lane has, and whose."""

    active: int
    queued: int
    backing_off: int
    callers: tuple[LaneCaller, ...]


def lane_status(
    view: LaneView, now: datetime, *, counts: Counts, health: LaneHealth, gates: Mapping[str, Gate]
) -> ModelLaneStatus:
    """The next status of a lane."""
    lane = view.lane
    said: dict[str, Said] = {
        LaneCondition.READY: _ready(view, now),
        LaneCondition.THROTTLED: throttled(gates, now),
        LaneCondition.PAUSED: _paused(view),
    }
    probe = view.current_probe
    return lane.status.model_copy(
        update={
            "observed_generation": lane.meta.generation,
            "conditions": merge_conditions(lane.status.conditions, said, generation=lane.meta.generation, now=now),
            "active_runs": counts.active,
            "queued_runs": counts.queued,
            "backing_off_runs": counts.backing_off,
            "callers": counts.callers,
            "models": _models(view, health),
            "account": with_account_health(health.account),
            "throttled_until": throttled_until(gates),
            "effective_timeouts": None if lane.direct else effective(lane.spec.endpoint.server, lane.spec.timeouts),
            "spend": spend_status(view, now),
            "last_probe_time": probe.probed_time if probe else lane.status.last_probe_time,
        }
    )


def line_is_shorter(old: ModelLaneStatus, new: ModelLaneStatus) -> bool:
    """Whether all that changed is that fewer runs stand in line, some still do, and whose turn it was: news for people only."""
    fewer = 0 < (new.queued_runs or 0) < (old.queued_runs or 0)
    return fewer and old.model_copy(update={"queued_runs": new.queued_runs, "callers": new.callers}) == new


def gateway_given_up(view: LaneView, now: datetime) -> datetime | None:
    """When a gateway that is away makes the lane not ready, if that is still to come."""
    if view.lane.direct or view.gateway_down_since is None:
        return None
    moment = view.gateway_down_since + GATEWAY_AWAY_FOR
    return moment if moment > now else None


def _models(view: LaneView, health: LaneHealth) -> tuple[LaneModelStatus, ...]:
    probe = view.current_probe
    seen = {model.name: model for model in probe.models} if probe else {}
    before = {model.name: model for model in view.lane.status.models}
    models = []
    for model in view.lane.spec.models:
        known = seen.get(model.name) or before.get(model.name)
        served, context = (known.served, known.context_tokens) if known else (None, None)
        status = LaneModelStatus(name=model.name, served=served, context_tokens=context)
        models.append(with_model_health(status, health.models[model.name]))
    return tuple(models)


def _ready(view: LaneView, now: datetime) -> Said:
    lane = view.lane
    if lane.direct:
        return Said("True", LaneReason.NOT_PROBED, "a Direct lane is not probed; its runs call the server themselves")
    if view.gateway_down_since is not None and now - view.gateway_down_since >= GATEWAY_AWAY_FOR:
        since = f"{view.gateway_down_since:%H:%M:%SZ}"
        return Said("False", LaneReason.GATEWAY_UNAVAILABLE, f"the gateway has not answered since {since}")
    probe = view.current_probe
    if probe is None:
        return _ready_before(view)
    good = probe.reachable and probe.reason is LaneReason.BACKEND_REACHABLE
    return Said("True" if good else "False", probe.reason, probe.message)


def _ready_before(view: LaneView) -> Said:
    """Until the gateway has looked at this generation, what was known of it stands."""
    for condition in view.lane.status.conditions:
        if condition.type == LaneCondition.READY and condition.observed_generation == view.lane.meta.generation:
            return Said(condition.status, condition.reason, condition.message)
    return Said("Unknown", LaneReason.NOT_PROBED, "the gateway has not looked at it yet")


def _paused(view: LaneView) -> Said:
    if view.lane.spec.suspend:
        return Said("True", LaneReason.SUSPENDED_BY_USER, "spec.suspend is true: no new slots are granted")
    return Said("False", LaneReason.NOT_SUSPENDED)
