"""A model server that answers by a script, for tests of anything that calls models.

In process:   async with ModelServer([Step(status=503), Step()]) as server: ...  server.url, server.requests
As a program: python -m modelserver --port 8000 --script file.json     (needs aiohttp and nothing else)

Each chat call takes the next step of the script that is for its model; after the last, every call gets a good answer of fixed words with 12 input and 7 output tokens.
``sleep:SECONDS`` in the last user message makes the answer take that long. Over HTTP: GET /_requests is the journal, DELETE /_requests
empties it, PUT /_script {"steps": [...], "models": {name: context or null}, "health": 200} begins a new script.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from aiohttp import web

from modelserver import gemini, shapes
from modelserver.shapes import Step

__all__ = ["ModelServer", "Request", "Step"]

_SLEEP = re.compile(r"sleep:(\d+(?:\.\d+)?)")
_APIS = {
    "/v1/chat/completions": shapes.CHAT,
    "/v1/responses": shapes.RESPONSES,
    "/v1/embeddings": shapes.EMBEDDINGS,
    "/v1/messages": shapes.MESSAGES,
    "/api/chat": shapes.OLLAMA,
    "/api/generate": shapes.GENERATE,
}
_GEMINI = re.compile(r"/v1(?:beta)?/models/(?P<model>[^:]+):(?P<method>streamGenerateContent|generateContent)")
_STREAM_TYPES = {
    shapes.OLLAMA: "application/x-ndjson",
    shapes.GENERATE: "application/x-ndjson",
    shapes.GEMINI_LIST: "application/json; charset=UTF-8",
}


@dataclass
class Request:
    """One call as it arrived, and how it ended."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    """Names in lower case."""
    body: Any
    """Parsed JSON; None if it was none."""
    time: float
    """Unix seconds at arrival."""
    outcome: str = "open"
    """open; answered; cut: by the script; left: the client closed the connection first."""

    @property
    def authorization(self) -> str | None:
        return self.headers.get("authorization")

    @property
    def model(self) -> str | None:
        if found := _GEMINI.fullmatch(self.path):
            return found["model"]
        return self.body.get("model") if isinstance(self.body, dict) else None

    @property
    def stream(self) -> bool | None:
        return self.body.get("stream") if isinstance(self.body, dict) else None


@dataclass
class ModelServer:
    """The server: ``url`` is its root, ``requests`` the journal of chat calls in order of arrival."""

    steps: Iterable[Step] = ()
    models: Mapping[str, int | None] = field(default_factory=lambda: {"scripted": 8192})
    """Names in the model lists, with the context length; calls for any other model are answered too."""
    health: int = 200
    """Status of every probe path."""
    host: str = "127.0.0.1"
    port: int = 0
    requests: list[Request] = field(default_factory=list)
    _runner: web.AppRunner | None = None

    def __post_init__(self) -> None:
        self.play(self.steps)

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def play(self, steps: Iterable[Step]) -> None:
        """Begin a new script."""
        self._rest = [[step, step.repeat] for step in steps]

    async def __aenter__(self) -> Self:
        # handler_cancellation: a handler ends when its client leaves, as in real servers, and the journal shows it.
        self._runner = web.AppRunner(self.app(), handler_cancellation=True, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.host, self.port, reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    def app(self) -> web.Application:
        """All paths of all APIs."""
        app = web.Application(client_max_size=64 * 2**20)
        for path in _APIS:
            app.router.add_post(path, self._chat)
        for version in ("v1", "v1beta"):
            app.router.add_post(
                f"/{version}/models/{{model}}:{{method:generateContent|streamGenerateContent}}", self._chat
            )
        for path in ("/", "/health", "/version", "/api/version", "/v1/models", "/v1beta/models", "/api/tags"):
            app.router.add_get(path, self._probe)
        app.router.add_post("/api/show", self._show)
        app.router.add_get("/_requests", self._get_requests)
        app.router.add_delete("/_requests", self._delete_requests)
        app.router.add_put("/_script", self._put_script)
        return app

    # Model calls

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        api = _api_of(request)
        entry = Request(
            method=request.method,
            path=request.path,
            query=request.query_string,
            headers={name.lower(): value for name, value in request.headers.items()},
            body=_json(await request.read()),
            time=time.time(),
        )
        self.requests.append(entry)
        if not isinstance(entry.body, dict):
            entry.outcome = "answered"
            return web.json_response(shapes.error(api, 400, "the body is no JSON object"), status=400)
        try:
            response = await self._answer(request, entry, api, self._next(entry.model))
        except (asyncio.CancelledError, ConnectionError):
            entry.outcome = "left" if entry.outcome == "open" else entry.outcome
            raise
        entry.outcome = "answered" if entry.outcome == "open" else entry.outcome
        return response

    def _next(self, model: str | None) -> Step:
        place = next((n for n, (step, _) in enumerate(self._rest) if step.model in {None, model}), None)
        if place is None:
            return Step()
        step, left = self._rest[place]
        if left is not None:
            self._rest[place][1] = left - 1
            if left <= 1:
                self._rest.pop(place)
        return step

    async def _answer(self, request: web.Request, entry: Request, api: str, step: Step) -> web.StreamResponse:
        streamed = step.status < 400 and _streams(api, entry)
        work = _sleep_seconds(entry.body)
        await asyncio.sleep(step.delay_seconds + (0 if streamed else work))
        if streamed:
            return await self._stream(request, entry, api, step, work)
        if step.cut_after_chunks is not None:
            return await _cut(request, entry)
        number, model = len(self.requests), entry.model or "scripted"
        body = step.body
        if body is None and step.status >= 400:
            body = shapes.error(api, step.status, f"scripted status {step.status}")
        elif body is None:
            body = shapes.whole(api, step, model=model, number=number)
        if isinstance(body, str):
            return web.Response(text=body, status=step.status, headers=step.headers)
        return web.json_response(body, status=step.status, headers=step.headers)

    async def _stream(
        self, request: web.Request, entry: Request, api: str, step: Step, work: float
    ) -> web.StreamResponse:
        options = entry.body.get("stream_options") or {}
        chunks = step.body if isinstance(step.body, list) else [step.body] if isinstance(step.body, str) else None
        chunks = chunks or shapes.chunks(
            api,
            step,
            model=entry.model or "scripted",
            number=len(self.requests),
            include_usage=bool(options.get("include_usage")),
        )
        kind = _STREAM_TYPES.get(api, "text/event-stream; charset=utf-8")
        response = web.StreamResponse(status=step.status, headers={"Content-Type": kind, **step.headers})
        await response.prepare(request)
        for number, chunk in enumerate(chunks):
            if number == step.cut_after_chunks:
                return await _cut(request, entry, response)
            await asyncio.sleep(step.chunk_delay_seconds + work / len(chunks))
            await response.write(chunk.encode())
        if step.cut_after_chunks == len(chunks):
            return await _cut(request, entry, response)
        await response.write_eof()
        return response

    # Probes and control

    async def _probe(self, request: web.Request) -> web.Response:
        if self.health != 200:
            return web.Response(status=self.health)
        match request.path:
            case "/v1/models":
                return web.json_response(shapes.model_list(self.models))
            case "/v1beta/models":
                return web.json_response(gemini.model_list(self.models))
            case "/api/tags":
                return web.json_response(shapes.ollama_tags(self.models))
            case "/version" | "/api/version":
                return web.json_response({"version": "0.0.0"})
            case path:
                return web.Response(text="Ollama is running" if path == "/" else "")

    async def _show(self, request: web.Request) -> web.Response:
        name = (await request.json()).get("model")
        if name not in self.models:
            return web.json_response(shapes.error(shapes.OLLAMA, 404, f"model '{name}' not found"), status=404)
        return web.json_response(shapes.ollama_show(self.models[name]))

    async def _get_requests(self, _: web.Request) -> web.Response:
        extra = ("authorization", "model", "stream")
        return web.json_response([{**asdict(r), **{name: getattr(r, name) for name in extra}} for r in self.requests])

    async def _delete_requests(self, _: web.Request) -> web.Response:
        self.requests.clear()
        return web.Response(status=204)

    async def _put_script(self, request: web.Request) -> web.Response:
        try:
            self.load(await request.json())
        except (ValueError, TypeError) as error:
            return web.Response(status=400, text=f"{error}\n")
        return web.Response(status=204)

    def load(self, script: dict[str, Any]) -> None:
        """Begin the script of a JSON file. Raises ValueError or TypeError, and then changes nothing."""
        unknown = set(script) - {"steps", "models", "health"}
        if unknown:
            raise ValueError(f"a script has no {', '.join(sorted(unknown))}")
        self.play([Step.of(step) for step in script.get("steps", [])])
        self.models = script.get("models", self.models)
        self.health = script.get("health", self.health)


async def _cut(request: web.Request, entry: Request, response: web.StreamResponse | None = None) -> web.StreamResponse:
    entry.outcome = "cut"
    if request.transport is not None:
        request.transport.close()  # what was written still goes out, then the connection ends without its end mark
    return response or web.Response()


def _json(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except ValueError:
        return None


def _api_of(request: web.Request) -> str:
    if _GEMINI.fullmatch(request.path):
        return shapes.GEMINI if request.query.get("alt") == "sse" else shapes.GEMINI_LIST
    return _APIS[request.path]


def _streams(api: str, entry: Request) -> bool:
    if found := _GEMINI.fullmatch(entry.path):
        return found["method"] == "streamGenerateContent"
    return api != shapes.EMBEDDINGS and bool(entry.body.get("stream", api in (shapes.OLLAMA, shapes.GENERATE)))


def _sleep_seconds(body: dict[str, Any]) -> float:
    said = [m.get("content") for m in body.get("messages") or [] if isinstance(m, dict) and m.get("role") == "user"]
    match = _SLEEP.search(json.dumps(said[-1])) if said else None
    return float(match[1]) if match else 0.0
