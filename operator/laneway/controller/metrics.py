"""What the operator counts. Labels are bounded: lane, namespace, reason; never a run or a pod."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from functools import cache

from prometheus_client import Counter, Gauge, Histogram

from laneway import buildinfo
from laneway.api.modellane import ModelLaneStatus
from laneway.api.reasons import Cause, End, LaneCondition, Outcome, RunCondition
from laneway.api.runstatus import AgentRunStatus
from laneway.api.spend import SpendStatus
from laneway.controller.facts.objects import Lane, Run
from laneway.controller.health.cooling import Heard
from laneway.rules.cooldown import COOLING_CAUSES
from laneway.rules.money import MICROS, parse_usd

SLOTS = Gauge("laneway_lane_slots", "Slots of a lane.", ["namespace", "lane"])
SLOTS_USED = Gauge("laneway_lane_slots_used", "Slots of a lane in use.", ["namespace", "lane"])
WAITING_RUNS = Gauge("laneway_lane_waiting_runs", "Runs that wait for a slot of a lane.", ["namespace", "lane"])
BACKING_OFF_RUNS = Gauge(
    "laneway_lane_backing_off_runs", "Runs that wait for a model of a lane to be usable again.", ["namespace", "lane"]
)
THROTTLED_UNTIL = Gauge(
    "laneway_lane_throttled_until_timestamp_seconds",
    "When the last cooling model of a lane may be used again.",
    ["namespace", "lane"],
)
THROTTLED = Counter(
    "laneway_upstream_throttled",
    "Failures that made a model or its account rest, by class.",
    ["namespace", "lane", "model", "reason"],
)
LANE_READY = Gauge("laneway_lane_ready", "1 while slots of a lane can be granted.", ["namespace", "lane"])
WAIT_SECONDS = Histogram(
    "laneway_run_wait_seconds",
    "Seconds from a run's creation to its first slot.",
    ["namespace", "lane"],
    buckets=(0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 14400),
)
SPENT = Gauge(
    "laneway_lane_spend_usd",
    "US dollars that a namespace has spent on a lane that bounds it, in the current period.",
    ["namespace", "lane", "spender", "period"],
)
SPEND_LIMIT = Gauge(
    "laneway_lane_spend_limit_usd",
    "US dollars that a namespace may spend on a lane in a period.",
    ["namespace", "lane", "spender", "period"],
)
FINISHED = Counter("laneway_runs_finished", "Runs that ended, by how.", ["namespace", "lane", "reason", "outcome"])
RUN_SECONDS = Histogram(
    "laneway_run_duration_seconds",
    "Seconds from the first start of a run's agent to the run's end.",
    ["namespace", "lane", "outcome"],
    buckets=(1, 5, 15, 60, 300, 900, 3600, 14400, 43200, 86400),
)
FALLBACKS = Counter(
    "laneway_fallbacks",
    "Moves of runs along their chains, by the lane that was left and why.",
    ["namespace", "lane", "cause"],
)
RECONCILES = Counter("laneway_reconciles", "Passes over runs and lanes.", ["kind", "outcome"])
QUEUE_DEPTH = Gauge("laneway_queue_depth", "Runs and lanes that wait to be looked at.")
EVENTS_WAITING = Gauge("laneway_events_waiting", "Kubernetes Events that are not posted yet.")

buildinfo.show()
for _kind in ("run", "lane"):
    for _outcome in ("done", "stale", "unavailable", "unreadable", "failed"):
        RECONCILES.labels(_kind, _outcome)


def show_lane(lane: Lane, status: ModelLaneStatus) -> None:
    """The gauges of a lane. One that does not cool has no time: unknown is absent."""
    labels = lane.meta.key
    SLOTS.labels(*labels).set(lane.spec.capacity.runs)
    SLOTS_USED.labels(*labels).set(status.active_runs or 0)
    WAITING_RUNS.labels(*labels).set(status.queued_runs or 0)
    BACKING_OFF_RUNS.labels(*labels).set(status.backing_off_runs or 0)
    if status.throttled_until is not None:
        THROTTLED_UNTIL.labels(*labels).set(status.throttled_until.timestamp())
    else:
        THROTTLED_UNTIL.remove(*labels)
    is_ready = any(c.type == LaneCondition.READY and c.status == "True" for c in status.conditions)
    LANE_READY.labels(*labels).set(float(is_ready))
    _show_spend(lane, status)
    _begin_lane(*labels)
    for model in lane.spec.models:
        _begin_model(*labels, model.name)


def _show_spend(lane: Lane, status: ModelLaneStatus) -> None:
    """What is spent of each bound; a bound that was taken away has no sum."""
    for old in {_spender(one) for one in lane.status.spend} - {_spender(one) for one in status.spend}:
        for gauge in (SPENT, SPEND_LIMIT):
            gauge.remove(*lane.meta.key, *old)
    for one in status.spend:
        SPENT.labels(*lane.meta.key, *_spender(one)).set(parse_usd(one.used_usd) / MICROS)
        SPEND_LIMIT.labels(*lane.meta.key, *_spender(one)).set(parse_usd(one.limit_usd) / MICROS)


def _spender(spend: SpendStatus) -> tuple[str, str]:
    return spend.namespace, spend.period


@cache
def _begin_lane(namespace: str, lane: str) -> None:
    """Show its counters from zero on, so that a first count is seen as a rise."""
    WAIT_SECONDS.labels(namespace, lane)
    for cause in Cause:
        FALLBACKS.labels(namespace, lane, cause)


@cache
def _begin_model(namespace: str, lane: str, model: str) -> None:
    for cause in COOLING_CAUSES:
        THROTTLED.labels(namespace, lane, model, cause)


def forget_lane(namespace: str, name: str) -> None:
    """Drop the gauges of a lane that is gone."""
    for gauge in (SLOTS, SLOTS_USED, WAITING_RUNS, BACKING_OFF_RUNS, THROTTLED_UNTIL, LANE_READY):
        gauge.remove(namespace, name)
    for gauge in (SPENT, SPEND_LIMIT):
        gauge.remove_by_labels({"namespace": namespace, "lane": name})


def count_throttled(lane: Lane, counted: Iterable[Heard]) -> None:
    """Count the failures that made a model or its account rest."""
    for one in counted:
        if one.failure is not None:
            THROTTLED.labels(*lane.meta.key, one.model, one.failure.cause).inc()


def count_end(run: Run, status: AgentRunStatus) -> None:
    """Count the end of a run, and how long it took from the first start of its agent, if there was one."""
    namespace, lane, outcome = run.meta.namespace, run.spec.models[0].lane, _outcome_of(status)
    FINISHED.labels(namespace, lane, status.reason or "", outcome).inc()
    if status.start_time is not None and status.completion_time is not None:
        RUN_SECONDS.labels(namespace, lane, outcome).observe(
            (status.completion_time - status.start_time).total_seconds()
        )


def _outcome_of(status: AgentRunStatus) -> Outcome:
    if status.reason == End.CANCELLED:
        return Outcome.CANCELLED
    good = any(c.type == RunCondition.SUCCEEDED and c.status == "True" for c in status.conditions)
    return Outcome.SUCCEEDED if good else Outcome.FAILED


def count_grant(run: Run, now: datetime) -> None:
    """Note how long a run waited for its first slot."""
    if run.status.attempt is None:
        WAIT_SECONDS.labels(*run.lane_key).observe((now - run.meta.created).total_seconds())


def count_moves(run: Run, status: AgentRunStatus) -> None:
    """Count the moves that a status write has recorded."""
    known = set(run.status.fallback_history)
    for move in status.fallback_history:
        if move not in known:
            FALLBACKS.labels(move.from_.namespace, move.from_.lane, move.cause).inc()
