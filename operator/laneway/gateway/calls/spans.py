"""The span of each try of a model call, made of the row that it leaves in the ledger."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from urllib.parse import urlsplit

from laneway.api.endpoint import Server, WireAPI
from laneway.gateway.cluster.objects import Lane
from laneway.gateway.cluster.views import Views
from laneway.gateway.ledger.ledger import CallEnd, CallStart
from laneway.rules.endpoint import root_url
from laneway.rules.traces import Attributes, Kind, Span, attempt_span_id, call_span_id, trace_id

_MILLISECONDS = 1000
_OPERATIONS = {WireAPI.EMBEDDINGS: "embeddings", WireAPI.GENERATE_CONTENT: "generate_content"}
_SERVERS = {
    Server.VLLM: "vllm",
    Server.OLLAMA: "ollama",
    Server.OPENAI: "openai",
    Server.ANTHROPIC: "anthropic",
    Server.GEMINI: "gcp.gemini",
}
_DIALECTS = {
    WireAPI.MESSAGES: "anthropic",
    WireAPI.GENERATE_CONTENT: "gcp.gemini",
    WireAPI.OLLAMA_CHAT: "ollama",
}
"""Who made an API, for servers of a kind that nobody has told."""


def teller(views: Views, take: Callable[[Span], None]) -> Callable[[CallStart, CallEnd], None]:
    """What is to be called with each try that was settled."""

    def tell(start: CallStart, end: CallEnd) -> None:
        take(span_of(start, end, views.lanes.get((start.lane_namespace, start.lane))))

    return tell


def span_of(start: CallStart, end: CallEnd, lane: Lane | None) -> Span:
    """The span of a try; ``lane`` is None when it is gone."""
    api = WireAPI(start.wire_api)
    operation = _OPERATIONS.get(api, "chat")
    return Span(
        trace_id=trace_id(start.run_uid),
        span_id=call_span_id(start.id),
        parent_id=attempt_span_id(start.run_uid, start.attempt),
        name=f"{operation} {start.model}",
        kind=Kind.CLIENT,
        start=_moment(start.started_ms),
        end=_moment(max(start.started_ms, end.ended_ms)),
        attributes={
            "gen_ai.operation.name": operation,
            "gen_ai.provider.name": _provider(api, lane),
            "gen_ai.request.model": start.model,
            "gen_ai.conversation.id": start.run_uid,
            **_server(lane),
            **_ending(end),
            "k8s.namespace.name": start.namespace,
            "laneway.attempt": start.attempt,
            "laneway.caller": start.caller or None,
            "laneway.lane": start.lane,
            "laneway.lane.namespace": start.lane_namespace,
            "laneway.wire_api": start.wire_api,
        },
        failed=end.cause is not None,
    )


def _ending(end: CallEnd) -> Attributes:
    usage = end.usage
    return {
        "gen_ai.response.finish_reasons": (end.finish_reason,) if end.finish_reason else None,
        "gen_ai.usage.input_tokens": usage.input_tokens,
        "gen_ai.usage.output_tokens": usage.output_tokens,
        "gen_ai.usage.cache_read.input_tokens": usage.cache_read_tokens,
        "gen_ai.usage.cache_creation.input_tokens": usage.cache_write_tokens,
        "http.response.status_code": end.status,
        "error.type": end.cause,
        "laneway.cost.micro_usd": end.cost_micro_usd,
        "laneway.usage.estimated": True if end.estimated else None,
    }


def _provider(api: WireAPI, lane: Lane | None) -> str:
    known = _SERVERS.get(lane.spec.endpoint.server) if lane is not None else None
    return known or _DIALECTS.get(api, "openai")


def _server(lane: Lane | None) -> Attributes:
    if lane is None:
        return {}
    root = urlsplit(root_url(lane.spec.endpoint, lane_namespace=lane.namespace))
    return {"server.address": root.hostname, "server.port": root.port or (443 if root.scheme == "https" else 80)}


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / _MILLISECONDS, UTC)
