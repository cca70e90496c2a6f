"""Spans as OTLP says them in JSON: ids in hexadecimal digits, whole numbers and times (in nanoseconds) as strings."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from laneway import __version__
from laneway.rules.traces import Attributes, Happening, Span, Value

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ERROR = 2
"""STATUS_CODE_ERROR."""


def encode(spans: Iterable[Span], *, service: str) -> bytes:
    """The body of an ExportTraceServiceRequest."""
    resource = {"service.name": service, "service.version": __version__}
    request = {
        "resourceSpans": [
            {
                "resource": {"attributes": _attributes(resource)},
                "scopeSpans": [
                    {"scope": {"name": "laneway", "version": __version__}, "spans": [_span(span) for span in spans]}
                ],
            }
        ]
    }
    return json.dumps(request, separators=(",", ":")).encode()


def _span(span: Span) -> dict[str, Any]:
    return {
        "traceId": span.trace_id,
        "spanId": span.span_id,
        **({"parentSpanId": span.parent_id} if span.parent_id else {}),
        "name": span.name,
        "kind": int(span.kind),
        "startTimeUnixNano": _nanoseconds(span.start),
        "endTimeUnixNano": _nanoseconds(span.end),
        "attributes": _attributes(span.attributes),
        "events": [_event(one) for one in span.happenings],
        "status": {"code": _ERROR} if span.failed else {},
    }


def _event(happening: Happening) -> dict[str, Any]:
    return {
        "name": happening.name,
        "timeUnixNano": _nanoseconds(happening.time),
        "attributes": _attributes(happening.attributes),
    }


def _attributes(attributes: Attributes) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value(value)} for key, value in attributes.items() if value is not None]


def _value(value: Value) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, str):
        return {"stringValue": value}
    return {"arrayValue": {"values": [_value(one) for one in value]}}


def _nanoseconds(moment: datetime) -> str:
    since = moment - _EPOCH  # a float has too few digits for nanoseconds
    return str((since.days * 86_400 + since.seconds) * 1_000_000_000 + since.microseconds * 1000)
