"""What the gateway counts. Labels are bounded: lanes, their namespaces, the models that lanes name, and status codes."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from prometheus_client import Counter, Gauge, Histogram

from laneway import buildinfo
from laneway.api.modellane import Access, LaneModel
from laneway.gateway.cluster.objects import Lane, LaneKey
from laneway.gateway.cluster.target import Target
from laneway.gateway.ledger.ledger import CallEnd, CallStart
from laneway.gateway.wire.base import Kind
from laneway.rules.money import MICROS
from laneway.rules.pricing import prices_of

REQUESTS = Counter(
    "laneway_requests", "Model calls, by the status that the client got.", ["lane", "namespace", "model", "code"]
)
TOKENS = Counter("laneway_tokens", "Tokens of model calls.", ["lane", "namespace", "model", "token_type"])
COST = Counter("laneway_cost_usd", "US dollars that priced model calls cost.", ["lane", "namespace", "model"])
DURATION = Histogram(
    "laneway_request_duration_seconds",
    "Seconds from a call's arrival to the end of its answer, waits included.",
    ["lane", "namespace", "model", "status"],
    buckets=(0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800),
)
RETRIES = Counter(
    "laneway_retries",
    "Tries of calls after the first, by the class of the failure before.",
    ["lane", "namespace", "model", "reason"],
)
CALLS_IN_FLIGHT = Gauge("laneway_lane_calls", "Places of a lane's calls in use.", ["lane", "namespace"])
CALLS_WAITING = Gauge("laneway_lane_waiting_calls", "Calls that wait for a place.", ["lane", "namespace"])
HOLDS = Counter(
    "laneway_holds",
    "Times that a call was held: Busy, for a place; Throttled, for its model; NotFound, for its lane.",
    ["lane", "namespace", "reason"],
)
REFUSALS = Counter("laneway_gateway_refusals", "Requests that the gateway itself refused.", ["reason"])
OPEN_CALLS = Gauge("laneway_gateway_open_calls", "Calls that are open or held.")
VIEW_AGE = Gauge("laneway_gateway_view_age_seconds", "Seconds since the API server was last heard.")

_TOO_MANY = 429
_TOKEN_TYPES = ("input", "output", "cache_read", "cache_write")

buildinfo.show()
for _kind in Kind:
    REFUSALS.labels(_kind.value)

# To look a labelled counter up costs more than to count; they live as long as the process anyway.
_requests, _tokens, _duration = cache(REQUESTS.labels), cache(TOKENS.labels), cache(DURATION.labels)
_cost = cache(COST.labels)


def watch_gauges(*, open_calls: Callable[[], float], view_age: Callable[[], float]) -> None:
    """Read the gauges from these functions at each scrape."""
    OPEN_CALLS.set_function(open_calls)
    VIEW_AGE.set_function(view_age)


def begin_lane(key: LaneKey, lane: Lane | None) -> None:
    """Show what is counted of a lane's models from zero on, so that a first count is seen as a rise. What nobody has priced costs nobody knows what, not zero."""
    if lane is None or lane.spec.access is not Access.GATEWAY:
        return
    for model in lane.spec.models:
        _begin_model(key, model)


def _begin_model(key: LaneKey, model: LaneModel) -> None:
    namespace, name = key
    for kind in _TOKEN_TYPES:
        _tokens(name, namespace, model.name, kind)
    if prices_of(model.pricing) is not None:
        _cost(name, namespace, model.name)


def count_usage(start: CallStart, end: CallEnd) -> None:
    """Count what one try used, and what it cost as far as prices are known."""
    usage = end.usage
    numbers = (usage.input_tokens, usage.output_tokens, usage.cache_read_tokens, usage.cache_write_tokens)
    for kind, number in zip(_TOKEN_TYPES, numbers, strict=True):
        if number:
            _tokens(start.lane, start.lane_namespace, start.model, kind).inc(number)
    if end.cost_micro_usd is not None:
        _cost(start.lane, start.lane_namespace, start.model).inc(end.cost_micro_usd / MICROS)


def count_call(target: Target, *, answered: int, seconds: float) -> None:
    """Count a call that has ended; ``answered`` is the status that the client got (S1 1.17)."""
    labels = labels_of(target)
    _requests(*labels, str(answered)).inc()
    _duration(*labels, _status_class(answered)).observe(seconds)


def watch_lane(lane: tuple[str, str], *, in_flight: Callable[[], float], waiting: Callable[[], float]) -> None:
    """Read a lane's gauges (its namespace and name) from these functions at each scrape."""
    CALLS_IN_FLIGHT.labels(lane[1], lane[0]).set_function(in_flight)
    CALLS_WAITING.labels(lane[1], lane[0]).set_function(waiting)


def forget_lane(lane: tuple[str, str]) -> None:
    """A lane (namespace and name) is gone, and so are its places."""
    for gauge in (CALLS_IN_FLIGHT, CALLS_WAITING):
        gauge.remove(lane[1], lane[0])


def labels_of(target: Target) -> tuple[str, str, str]:
    """Lane, its namespace, and model."""
    return target.lane.name, target.lane.namespace, target.model


def _status_class(status: int) -> str:
    return "429" if status == _TOO_MANY else f"{status // 100}xx"
