"""What Gemini's API answers, as its documentation has it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modelserver.shapes import Step

_STATUS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_REASONS = {"stop": "STOP", "length": "MAX_TOKENS"}


def error(status: int, message: str) -> dict[str, Any]:
    """An error body."""
    return {"error": {"code": status, "message": message, "status": _STATUS.get(status, "INTERNAL")}}


def whole(step: Step, *, model: str, number: int) -> dict[str, Any]:
    """A whole answer."""
    return _part(step, "".join(step.pieces), model=model, number=number, last=True)


def chunks(step: Step, *, model: str, number: int) -> list[str]:
    """A streamed answer with ``alt=sse``."""
    last = len(step.pieces) - 1
    parts = [
        _part(step, piece, model=model, number=number, last=place == last) for place, piece in enumerate(step.pieces)
    ]
    return [f"data: {json.dumps(part)}\r\n\r\n" for part in parts]


def list_chunks(step: Step, *, model: str, number: int) -> list[str]:
    """The same without it: one list, written as it grows."""
    parts = chunks(step, model=model, number=number)
    return [("[" if place == 0 else ",\r\n") + part[len("data: ") :].strip() for place, part in enumerate(parts)] + [
        "]\n"
    ]


def model_list(models: Mapping[str, int | None]) -> dict[str, Any]:
    """GET /v1beta/models."""
    methods = {"supportedGenerationMethods": ["generateContent", "countTokens"]}
    sizes = ({"inputTokenLimit": size} if size else {} for size in models.values())
    return {"models": [{"name": f"models/{name}", **size, **methods} for name, size in zip(models, sizes, strict=True)]}


def _part(step: Step, text: str, *, model: str, number: int, last: bool) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": [{"text": text}], "role": "model"}, "index": 0}
    if last:
        candidate["finishReason"] = _REASONS.get(step.finish_reason, step.finish_reason)
    part = {"candidates": [candidate], "modelVersion": model, "responseId": f"r{number}"}
    return part | ({"usageMetadata": _usage(step, last=last)} if step.usage_known else {})


def _usage(step: Step, *, last: bool) -> dict[str, int]:
    taken, made = step.input_tokens or 0, step.output_tokens or 0
    if not last:
        return {"promptTokenCount": taken, "totalTokenCount": taken}
    return {"promptTokenCount": taken, "candidatesTokenCount": made, "totalTokenCount": taken + made}
