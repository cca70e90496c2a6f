"""Looks after the lanes' endpoints: does the server answer, does it serve the lane's models, how long may a prompt be.

One round of requests for each kind of server; what comes back is judged by ``verdict_of``, which is pure.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

from yarl import URL

from laneway.api.endpoint import Server, WireAPI
from laneway.api.gatewaystate import ModelState
from laneway.api.reasons import LaneReason
from laneway.gateway.cluster.objects import Lane
from laneway.gateway.upstream.credentials import CredentialMissing, Credentials, lane_headers
from laneway.gateway.upstream.upstream import Outgoing, Upstream, UpstreamError, time_limit
from laneway.gateway.wire.base import parse_object
from laneway.rules.endpoint import PATHS, path_of, root_url

_ANSWER_LIMIT = 4 * 1024 * 1024
_NAMES_SHOWN = 5
_OK, _UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND, _NO_METHOD, _TOO_MANY = 200, 401, 403, 404, 405, 429
_ANTHROPIC = {"anthropic-version": "2023-06-01"}
_OLLAMA_TAG = ":latest"
_LONGEST_CONTEXT = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a probe found."""

    reachable: bool
    reason: LaneReason
    message: str
    models: tuple[ModelState, ...] = ()


class _Failed(Exception):  # noqa: N818 - it says what happened
    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.message)
        self.verdict = verdict


@dataclass(frozen=True, slots=True)
class Served:
    """The models that a server lists, with the context length in tokens where it tells."""

    context: Mapping[str, int | None] = field(default_factory=dict)
    listed: bool = True
    """False: the server keeps no list, so nothing is known."""


async def probe(lane: Lane, *, upstream: Upstream, credentials: Credentials) -> Verdict:
    """One look at a lane's endpoint."""
    try:
        key = await credentials.read_again(lane)
    except CredentialMissing as error:
        return Verdict(False, LaneReason.CREDENTIAL_MISSING, str(error), _unknown(lane))
    try:
        with time_limit(lane.spec.probe.timeout_seconds, "an answer"):
            served = await _Visit(lane, upstream, key).look()
    except UpstreamError as error:
        return Verdict(False, LaneReason.BACKEND_UNREACHABLE, str(error), _unknown(lane))
    except _Failed as failed:
        return failed.verdict
    return verdict_of(lane, served)


def verdict_of(lane: Lane, served: Served) -> Verdict:
    """The judgement of a server that answered."""
    if not served.listed:
        message = "the server answers, but lists no models"
        return Verdict(True, LaneReason.BACKEND_REACHABLE, message, _unknown(lane))
    models, missing = [], []
    for model in lane.spec.models:
        name = _match(model.name, served, lane.spec.endpoint.server)
        models.append(
            ModelState(name=model.name, served=name is not None, context_tokens=served.context[name] if name else None)
        )
        if name is None:
            missing.append(model.name)
    if not missing:
        return Verdict(True, LaneReason.BACKEND_REACHABLE, "the server answers", tuple(models))
    message = (
        f"the server does not serve {_listing(missing)}; it serves {_listing(sorted(served.context)) or 'nothing'}"
    )
    reason = LaneReason.BACKEND_REACHABLE if len(missing) < len(models) else LaneReason.MODEL_NOT_SERVED
    return Verdict(True, reason, message, tuple(models))


class _Visit:
    """The requests of one probe."""

    def __init__(self, lane: Lane, upstream: Upstream, key: str | None) -> None:
        self._lane = lane
        self._upstream = upstream
        self._headers = {"Accept": "application/json", "Accept-Encoding": "identity", **lane_headers(lane, key)}
        self._root = root_url(lane.spec.endpoint, lane_namespace=lane.namespace)

    async def look(self) -> Served:
        """Raises UpstreamError and _Failed."""
        endpoint = self._lane.spec.endpoint
        if endpoint.server is Server.VLLM:
            await self._get("/health")
        match endpoint.server:
            case Server.OLLAMA:
                return await self._ollama_models(await self._get("/api/tags"))
            case Server.VLLM | Server.OPENAI:
                return _openai_models(await self._get("/v1/models"))
            case Server.ANTHROPIC:
                self._headers.update(_ANTHROPIC)
                return await self._with_aliases(_openai_models(await self._get("/v1/models?limit=1000")))
            case Server.GEMINI:
                api = WireAPI.GENERATE_CONTENT
                return _gemini_models(await self._get(path_of(endpoint, api, PATHS[api]) + "?pageSize=1000"))
            case Server.OTHER:
                status, body = await self._ask("GET", "/v1/models")
                if status in {_NOT_FOUND, _NO_METHOD}:
                    return Served(listed=False)
                return _openai_models(self._checked("/v1/models", status, body))

    async def _ollama_models(self, tags: bytes) -> Served:
        """The context length is the one that the model file sets, else what the model was trained for."""
        context: dict[str, int | None] = dict.fromkeys(_names(tags, "models", "name"))
        served = Served(context)
        for model in self._lane.spec.models:
            name = _match(model.name, served, Server.OLLAMA)
            if name is not None:
                body = json.dumps({"model": name}).encode()
                status, answer = await self._ask("POST", "/api/show", body)
                context[name] = _ollama_context(answer) if status == _OK else None
        return served

    async def _with_aliases(self, served: Served) -> Served:
        """Anthropic lists dated names only, and knows more by name."""
        context = dict(served.context)
        for model in self._lane.spec.models:
            if model.name not in context:
                status, _ = await self._ask("GET", f"/v1/models/{quote(model.name, safe='')}")
                if status == _OK:
                    context[model.name] = None
        return Served(context)

    async def _get(self, path: str) -> bytes:
        return self._checked(path, *await self._ask("GET", path))

    async def _ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        url = URL(self._root + path, encoded=True)
        headers = {**self._headers, **({"Content-Type": "application/json"} if body else {})}
        incoming = await self._upstream.send(Outgoing(method=method, url=url, headers=headers, body=body))
        try:
            return incoming.status, await incoming.read_all(_ANSWER_LIMIT)
        finally:
            incoming.close()

    def _checked(self, path: str, status: int, body: bytes) -> bytes:
        """The body of a good answer. Raises _Failed. A server that is only busy is there all the same."""
        if status == _OK:
            return body
        path = path.partition("?")[0]
        if status in {_UNAUTHORIZED, _FORBIDDEN}:
            message = f"the server refuses the lane's key: it answers {status} on {path}"
            raise _Failed(Verdict(True, LaneReason.AUTH_FAILED, message, _unknown(self._lane)))
        if status == _TOO_MANY:
            message = f"the server is busy: it answers {status} on {path}"
            raise _Failed(Verdict(True, LaneReason.BACKEND_REACHABLE, message, _unknown(self._lane)))
        message = f"the server answers {status} on {path}"
        raise _Failed(Verdict(False, LaneReason.BACKEND_UNREACHABLE, message, _unknown(self._lane)))


def _openai_models(body: bytes) -> Served:
    context: dict[str, int | None] = {}
    for entry in _entries(body, "data"):
        name, length = entry.get("id"), entry.get("max_model_len")
        if isinstance(name, str):
            context[name] = _length(length)
    return Served(context)


def _gemini_models(body: bytes) -> Served:
    """Names stand there as ``models/NAME``."""
    context: dict[str, int | None] = {}
    for entry in _entries(body, "models"):
        if isinstance(name := entry.get("name"), str):
            context[name.removeprefix("models/")] = _length(entry.get("inputTokenLimit"))
    return Served(context)


def _names(body: bytes, member: str, key: str) -> list[str]:
    return [name for entry in _entries(body, member) if isinstance(name := entry.get(key), str)]


def _entries(body: bytes, member: str) -> list[Mapping[str, object]]:
    answer = parse_object(body) or {}
    entries = answer.get(member)
    return [entry for entry in entries if isinstance(entry, Mapping)] if isinstance(entries, list) else []


def _ollama_context(body: bytes) -> int | None:
    answer = parse_object(body) or {}
    parameters, info = answer.get("parameters"), answer.get("model_info")
    for line in parameters.splitlines() if isinstance(parameters, str) else ():
        name, _, value = line.strip().partition(" ")
        if name == "num_ctx" and value.strip().isdigit():
            return _length(int(value))
    for name, value in info.items() if isinstance(info, Mapping) else ():
        if name.endswith(".context_length"):
            return _length(value)
    return None


def _length(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _LONGEST_CONTEXT:
        return None
    return value


def _match(name: str, served: Served, server: Server) -> str | None:
    """The server's own name of a model; in Ollama ``smollm2`` is ``smollm2:latest``."""
    if name in served.context:
        return name
    tagged = name + _OLLAMA_TAG
    return tagged if server is Server.OLLAMA and tagged in served.context else None


def _unknown(lane: Lane) -> tuple[ModelState, ...]:
    return tuple(ModelState(name=model.name) for model in lane.spec.models)


def _listing(names: list[str]) -> str:
    more = len(names) - _NAMES_SHOWN
    return ", ".join(names[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
