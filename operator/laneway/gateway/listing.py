"""Lists that clients ask for before they call: the models of the run's lane, answered by the gateway itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from aiohttp import web

from laneway import __version__
from laneway.gateway.refused import Refused
from laneway.gateway.target import lane_of
from laneway.gateway.views import Run, Views
from laneway.gateway.wire.base import Answer, Kind, json_answer

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]
Lister: TypeAlias = Callable[[web.Request, Run, Views], Answer]

_EPOCH = "1970-01-01T00:00:00Z"


def list_models(request: web.Request, run: Run, views: Views) -> Answer:
    """``GET /v1/models``, in Anthropic's shape for its clients."""
    names = _names(run, views)
    if "anthropic-version" in request.headers:
        data = [_anthropic(name) for name in names]
        ends = {"first_id": names[0], "last_id": names[-1]}
        return json_answer(200, {"data": data, "has_more": False, **ends})
    return json_answer(200, {"object": "list", "data": [_openai(name) for name in names]})


def show_model(request: web.Request, run: Run, views: Views) -> Answer:
    """``GET /v1/models/<name>``."""
    name = request.match_info["name"]
    if name not in _names(run, views):
        raise Refused(Kind.NOT_FOUND, f"the run's lane has no model {name!r}")
    return json_answer(200, _anthropic(name) if "anthropic-version" in request.headers else _openai(name))


def list_tags(request: web.Request, run: Run, views: Views) -> Answer:
    """``GET /api/tags``."""
    models = [
        {"name": name, "model": name, "modified_at": _EPOCH, "size": 0, "digest": "", "details": {}}
        for name in _names(run, views)
    ]
    return json_answer(200, {"models": models})


def tell_version(request: web.Request, run: Run, views: Views) -> Answer:
    """``GET /api/version``."""
    return json_answer(200, {"version": __version__})


ANSWERS: dict[str, Lister] = {
    "/v1/models": list_models,
    "/v1/models/{name:.+}": show_model,
    "/api/tags": list_tags,
    "/api/version": tell_version,
}


def _names(run: Run, views: Views) -> list[str]:
    return [model.name for model in lane_of(run, views).spec.models]


def _openai(name: str) -> dict[str, object]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "laneway"}


def _anthropic(name: str) -> dict[str, object]:
    return {"type": "model", "id": name, "display_name": name, "created_at": _EPOCH}
