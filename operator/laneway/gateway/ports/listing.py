"""Lists that clients ask for before they call: the run's model, answered by the gateway itself.

It is the only one, because the gateway puts it into every call.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from aiohttp import web

from laneway import __version__
from laneway.gateway.cluster.objects import Run
from laneway.gateway.cluster.target import lane_of, model_of
from laneway.gateway.cluster.views import Views
from laneway.gateway.wire.base import Answer, Kind, json_answer
from laneway.gateway.wire.refused import Refused

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]
Lister: TypeAlias = Callable[[web.Request, Run, Views], Answer]

_EPOCH = "1970-01-01T00:00:00Z"


def list_models(request: web.Request, run: Run, views: Views) -> Answer:
    """``GET /v1/models`` and ``/v1beta/models``, in the shape of the client."""
    name = _name(run, views)
    if is_gemini(request):
        return json_answer(200, {"models": [_gemini(name)]})
    if "anthropic-version" in request.headers:
        return json_answer(200, {"data": [_anthropic(name)], "has_more": False, "first_id": name, "last_id": name})
    return json_answer(200, {"object": "list", "data": [_openai(name)]})


def show_model(request: web.Request, run: Run, views: Views) -> Answer:
    """``GET /v1/models/<name>`` and ``/v1beta/models/<name>``."""
    asked, name = request.match_info["name"], _name(run, views)
    if asked != name:
        raise Refused(Kind.NOT_FOUND, f"the run's model is {name!r}, not {asked!r}")
    if is_gemini(request):
        return json_answer(200, _gemini(name))
    return json_answer(200, _anthropic(name) if "anthropic-version" in request.headers else _openai(name))


def list_tags(request: web.Request, run: Run, views: Views) -> Answer:
    """``GET /api/tags``."""
    name = _name(run, views)
    model = {"name": name, "model": name, "modified_at": _EPOCH, "size": 0, "digest": "", "details": {}}
    return json_answer(200, {"models": [model]})


def tell_version(request: web.Request, run: Run, views: Views) -> Answer:
    """``GET /api/version``."""
    return json_answer(200, {"version": __version__})


ANSWERS: dict[str, Lister] = {
    "/v1/models": list_models,
    "/v1/models/{name:.+}": show_model,
    "/v1beta/models": list_models,
    "/v1beta/models/{name:.+}": show_model,
    "/api/tags": list_tags,
    "/api/version": tell_version,
}


def is_gemini(request: web.Request) -> bool:
    """Whether the client speaks Gemini's API, whose stable version shares its path with OpenAI's list."""
    return request.path.startswith("/v1beta/") or "x-goog-api-key" in request.headers


def _name(run: Run, views: Views) -> str:
    return model_of(run, lane_of(run, views)).name


def _openai(name: str) -> dict[str, object]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "laneway"}


def _anthropic(name: str) -> dict[str, object]:
    return {"type": "model", "id": name, "display_name": name, "created_at": _EPOCH}


def _gemini(name: str) -> dict[str, object]:
    methods = ["generateContent", "streamGenerateContent", "countTokens"]
    return {"name": f"models/{name}", "displayName": name, "supportedGenerationMethods": methods}
