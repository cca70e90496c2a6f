"""The operator and the gateway as two real processes tell one trace: the run, its attempt, and each try of its calls."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from integration.agents import add_lane, call, reachable_server, start_both
from integration.operators import Stage
from laneway.kube.resources import JsonObject
from modelserver import ModelServer, Step
from support.otlp import Receiver, attributes, receiver
from support.standin import Part

PRICES = {"inputUSDPerMillion": "1.00", "outputUSDPerMillion": "2.00"}
PROMPT = "What is the capital of France?"


@pytest.fixture
async def got() -> AsyncIterator[Receiver]:
    async with receiver() as got:
        yield got


@pytest.fixture
async def server() -> AsyncIterator[ModelServer]:
    async with reachable_server(models={"smollm2": 8192, "big": 8192}) as server:
        yield server


def only(spans: list[Span]) -> Span:
    [span] = spans
    return span


def told(of: Span, *names: str) -> tuple[Any, ...]:
    return tuple(attributes(of).get(name) for name in names)


def variable(pod: JsonObject, name: str) -> str | None:
    [container] = pod["spec"]["containers"]
    return next((str(one["value"]) for one in container["env"] if one["name"] == name), None)


async def test_a_run_that_walks_is_one_trace_in_the_words_of_opentelemetry(
    stage: Stage, server: ModelServer, got: Receiver
) -> None:
    stage.settings["OTEL_EXPORTER_OTLP_ENDPOINT"] = got.url
    server.play([Step(status=429)])
    await start_both(stage)
    await add_lane(stage, server, name="first")
    await add_lane(stage, server, name="second", models=[{"name": "big", "pricing": PRICES}])
    part = stage.node.play("hello", Part.held())
    run = await stage.add_run(spec={"prompt": PROMPT, "models": [{"lane": "first"}, {"lane": "second"}]})
    pod = await stage.has_pod(run, phase="Running")
    assert (await call(stage, pod))[0] == 200
    part.released.set()
    await stage.finished(run)
    assert await stage.within(lambda: len(got.spans) >= 4, seconds=30)

    uid = run["metadata"]["uid"]
    whole, attempt = only(got.named("invoke_agent generic")), only(got.named("attempt"))
    failed, answered = only(got.named("chat smollm2")), only(got.named("chat big"))
    assert {span.trace_id.hex() for span in got.spans} == {uid.replace("-", "")}
    assert whole.parent_span_id == b""
    assert attempt.parent_span_id == whole.span_id
    assert {failed.parent_span_id, answered.parent_span_id} == {attempt.span_id}
    assert variable(pod, "TRACEPARENT") == f"00-{uid.replace('-', '')}-{attempt.span_id.hex()}-01"
    assert got.services == {"laneway-operator", "laneway-gateway"}
    inner = (whole.start_time_unix_nano, attempt.start_time_unix_nano, answered.start_time_unix_nano)
    assert list(inner) == sorted(inner)
    assert answered.end_time_unix_nano <= attempt.end_time_unix_nano + 1_000_000_000  # status counts whole seconds

    names = ("gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens")
    assert told(answered, *names) == told(attempt, *names) == told(whole, *names) == (12, 7)
    assert told(answered, "http.response.status_code", "laneway.lane", "error.type") == (200, "second", None)
    assert told(failed, "http.response.status_code", "laneway.lane", "error.type") == (429, "first", "RateLimitModel")
    assert (failed.status.code, answered.status.code) == (failed.status.STATUS_CODE_ERROR, 0)
    assert told(whole, "laneway.run", "laneway.reason") == ("hello", "Completed")
    assert [(event.name, attributes(event)["laneway.cause"]) for event in whole.events] == [
        ("step taken", "RateLimitModel")
    ]
    said = b"".join(got.bodies)
    assert PROMPT.encode() not in said
    assert (variable(pod, "LANEWAY_TOKEN") or "").encode() not in said
    assert b"Paris" not in said


async def test_nothing_of_traces_is_there_where_nobody_asked_for_them(
    stage: Stage, server: ModelServer, got: Receiver
) -> None:
    await start_both(stage)
    await add_lane(stage, server)
    part = stage.node.play("hello", Part.held())
    run = await stage.add_run()
    pod = await stage.has_pod(run, phase="Running")
    assert (await call(stage, pod))[0] == 200
    part.released.set()
    await stage.finished(run)
    assert variable(pod, "TRACEPARENT") is None
    assert not any("traces" in program.log for program in (*stage.operators, *stage.gateways))
