"""Where a lane's API really is: the Service of a short host name, the wire APIs and their paths, the header of a key."""

from __future__ import annotations

from functools import lru_cache
from urllib.parse import urlsplit, urlunsplit

from laneway.api.endpoint import Auth, Endpoint, Server, WireAPI

PATHS = {
    WireAPI.CHAT_COMPLETIONS: "/v1/chat/completions",
    WireAPI.RESPONSES: "/v1/responses",
    WireAPI.MESSAGES: "/v1/messages",
    WireAPI.OLLAMA_CHAT: "/api",
    WireAPI.GENERATE_CONTENT: "/v1beta/models",
    WireAPI.EMBEDDINGS: "/v1/embeddings",
}
"""Where an API begins; the paths of its operations begin with it."""

GEMINI_STABLE = "/v1/models"
"""Where GenerateContent begins too: the version without beta."""

_OPENAI = frozenset({WireAPI.CHAT_COMPLETIONS, WireAPI.RESPONSES, WireAPI.EMBEDDINGS})
SPOKEN = {
    Server.VLLM: _OPENAI | {WireAPI.MESSAGES},
    Server.OLLAMA: _OPENAI | {WireAPI.MESSAGES, WireAPI.OLLAMA_CHAT},
    Server.OPENAI: _OPENAI,
    Server.ANTHROPIC: frozenset({WireAPI.MESSAGES}),
    Server.GEMINI: frozenset({WireAPI.GENERATE_CONTENT}),
    Server.OTHER: frozenset({WireAPI.CHAT_COMPLETIONS, WireAPI.EMBEDDINGS}),
}
"""What a kind of server speaks, unless the lane says otherwise."""

_AUTH = {Server.ANTHROPIC: Auth.X_API_KEY, Server.GEMINI: Auth.X_GOOG_API_KEY}


def spoken(endpoint: Endpoint) -> frozenset[WireAPI]:
    """The wire APIs of a lane: those that it names, else those of its kind of server (design section 4)."""
    return frozenset(api.name for api in endpoint.apis) or SPOKEN[endpoint.server]


def path_of(endpoint: Endpoint, api: WireAPI, path: str) -> str:
    """The path of an operation on the lane's server; ``path`` is the one that clients use."""
    own = next((served.path for served in endpoint.apis if served.name == api), None)
    if own is None:
        return path
    begin = PATHS[api] if path.startswith(PATHS[api]) else GEMINI_STABLE
    return own + path.removeprefix(begin)


def root_url(endpoint: Endpoint, *, lane_namespace: str) -> str:
    """The root to which a path is appended, without a ``/`` or a version at the end.

    A host of one label is a Service beside the lane, wherever the caller's pod stands: ``http://ollama:11434`` in namespace
    ``models`` is ``http://ollama.models.svc:11434``.
    """
    return _root_url(endpoint.url, endpoint.server, lane_namespace)


@lru_cache(maxsize=1024)
def _root_url(url: str, server: Server, lane_namespace: str) -> str:
    """Kept, because each call asks for it."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    netloc = parts.netloc
    if "." not in host and ":" not in host and host != "localhost":
        netloc = f"{host}.{lane_namespace}.svc" + (f":{parts.port}" if parts.port else "")
    path = parts.path.rstrip("/").removesuffix("/v1")
    if server is Server.GEMINI:
        path = path.removesuffix("/v1beta")
    return urlunsplit((parts.scheme, netloc, path, "", ""))


def auth_of(endpoint: Endpoint) -> Auth:
    """The header that carries the lane's key: what the lane says, else what its kind of server wants."""
    if endpoint.credential_ref is None:
        return Auth.NONE
    if endpoint.auth is not None:
        return endpoint.auth
    return _AUTH.get(endpoint.server, Auth.BEARER)
