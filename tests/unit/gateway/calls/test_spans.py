"""The span of a try: what its row in the ledger says, in the words of OpenTelemetry."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from laneway.gateway.calls.spans import span_of, teller
from laneway.gateway.cluster.objects import Lane, read_lane
from laneway.gateway.cluster.views import Views
from laneway.rules import traces
from laneway.rules.usage import Usage
from unit.gateway.kit import ATTEMPT, PAST_MS, call_end, call_start, lane_object


def lane(server: str = "vLLM", url: str = "https://models.example:8443/v1") -> Lane:
    read = read_lane(lane_object(url, server=server))
    assert read is not None
    return read


def attributes_of(**changes: Any) -> dict[str, Any]:
    """Those of a good call, with other values in its end."""
    return dict(span_of(call_start("c1"), dataclasses.replace(call_end(), **changes), lane()).attributes)


def test_a_try_is_a_client_span_below_its_attempt() -> None:
    span = span_of(call_start("c1"), call_end(), lane())
    assert span.trace_id == traces.trace_id(ATTEMPT.run_uid)
    assert span.span_id == traces.call_span_id("c1")
    assert span.parent_id == traces.attempt_span_id(ATTEMPT.run_uid, ATTEMPT.attempt)
    assert (span.name, span.kind, span.failed) == ("chat m", traces.Kind.CLIENT, False)
    assert round((span.end - span.start).total_seconds() * 1000) == 5
    assert round(span.start.timestamp() * 1000) == PAST_MS


def test_it_says_what_the_conventions_of_generative_ai_ask_for() -> None:
    usage = Usage(input_tokens=100, output_tokens=20, cache_read_tokens=60, cache_write_tokens=None)
    said = attributes_of(usage=usage, cost_micro_usd=600)
    assert said["gen_ai.operation.name"] == "chat"
    assert said["gen_ai.provider.name"] == "vllm"
    assert said["gen_ai.request.model"] == "m"
    assert said["gen_ai.response.finish_reasons"] == ("stop",)
    assert said["gen_ai.usage.input_tokens"] == 100
    assert said["gen_ai.usage.output_tokens"] == 20
    assert said["gen_ai.usage.cache_read.input_tokens"] == 60
    assert said["gen_ai.usage.cache_creation.input_tokens"] is None
    assert said["http.response.status_code"] == 200
    assert (said["server.address"], said["server.port"]) == ("models.example", 8443)
    assert said["laneway.cost.micro_usd"] == 600


def test_a_failure_says_its_class() -> None:
    span = span_of(call_start("c1"), call_end(turn=False, cause="APITransient"), lane())
    assert span.failed
    assert span.attributes["error.type"] == "APITransient"
    assert span.attributes["http.response.status_code"] == 503


@pytest.mark.parametrize(
    ("api", "operation"),
    [
        ("ChatCompletions", "chat"),
        ("Responses", "chat"),
        ("Messages", "chat"),
        ("OllamaChat", "chat"),
        ("GenerateContent", "generate_content"),
        ("Embeddings", "embeddings"),
    ],
)
def test_an_operation_by_its_api(api: str, operation: str) -> None:
    start = dataclasses.replace(call_start("c1"), wire_api=api)
    assert span_of(start, call_end(), lane()).name == f"{operation} m"


@pytest.mark.parametrize(
    ("server", "api", "provider"),
    [
        pytest.param("Anthropic", "Messages", "anthropic", id="the kind of server says it"),
        pytest.param("Gemini", "GenerateContent", "gcp.gemini", id="Gemini by its name in the conventions"),
        pytest.param("Other", "Messages", "anthropic", id="of another server, who made its API"),
        pytest.param("Other", "ChatCompletions", "openai", id="of another server with OpenAI's"),
        pytest.param(None, "OllamaChat", "ollama", id="of a lane that is gone, who made its API"),
    ],
)
def test_a_provider(server: str | None, api: str, provider: str) -> None:
    start = dataclasses.replace(call_start("c1"), wire_api=api)
    span = span_of(start, call_end(), lane(server) if server else None)
    assert span.attributes["gen_ai.provider.name"] == provider
    assert ("server.address" in span.attributes) == (server is not None)


def test_the_lane_is_looked_up_when_the_try_has_ended() -> None:
    views, taken = Views(), []
    views.lanes.put(lane_object("http://ollama:11434", server="Ollama"))
    start = dataclasses.replace(call_start("c1"), lane_namespace="agents", lane="lane")
    teller(views, taken.append)(start, call_end())
    assert [span.attributes["server.address"] for span in taken] == ["ollama.agents.svc"]
