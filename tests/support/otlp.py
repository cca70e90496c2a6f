"""A receiver of traces: real HTTP, and each body parsed by the official classes of OTLP, which know every field and no other."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from google.protobuf.json_format import ParseDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

_IDS = {"traceId", "spanId", "parentSpanId"}


@dataclass
class Receiver:
    """What came, and how it is answered."""

    url: str = ""
    spans: list[Span] = field(default_factory=list)
    services: set[str] = field(default_factory=set)
    bodies: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    answers: list[tuple[int, dict[str, str], Any]] = field(default_factory=list)
    """Statuses, headers and bodies of the next answers; after them every body is taken."""

    def named(self, name: str) -> list[Span]:
        """The spans of this name, in the order in which they came."""
        return [span for span in self.spans if span.name == name]


def attributes(of: Span | Span.Event) -> dict[str, Any]:
    """The attributes of a span, as plain values."""
    return {one.key: _plain(one.value) for one in of.attributes}


@asynccontextmanager
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver on loopback."""
    got = Receiver()

    async def take(request: web.Request) -> web.Response:
        body = await request.read()
        got.bodies.append(body)
        got.headers.append({name.lower(): value for name, value in request.headers.items()})
        status, headers, answer = got.answers.pop(0) if got.answers else (200, {}, {})
        if status == 200:
            _keep(got, parse(body))
        return web.json_response(answer, status=status, headers=headers)

    app = web.Application()
    app.router.add_post("/v1/traces", take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    got.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield got
    finally:
        await runner.cleanup()


def parse(body: bytes) -> ExportTraceServiceRequest:
    """Fails on a field that OTLP does not have, or on a value of another type. Ids are hexadecimal in OTLP's JSON, and base64 in protobuf's."""
    return ParseDict(_with_plain_ids(json.loads(body)), ExportTraceServiceRequest())


def _with_plain_ids(part: Any) -> Any:
    if isinstance(part, list):
        return [_with_plain_ids(one) for one in part]
    if isinstance(part, dict):
        return {
            key: base64.b64encode(bytes.fromhex(value)).decode() if key in _IDS else _with_plain_ids(value)
            for key, value in part.items()
        }
    return part


def _keep(got: Receiver, request: ExportTraceServiceRequest) -> None:
    for resource in request.resource_spans:
        got.services |= {one.value.string_value for one in resource.resource.attributes if one.key == "service.name"}
        got.spans += [span for scope in resource.scope_spans for span in scope.spans]


def _plain(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_plain(one) for one in value.array_value.values]
    return None if kind is None else getattr(value, kind)
