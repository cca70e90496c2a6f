"""Where a lane's API really is: the Service of a short host name, the path of a wire API, the header of a key."""

from __future__ import annotations

from enum import StrEnum
from urllib.parse import urlsplit, urlunsplit

from laneway.api.modellane import Auth, Endpoint, LaneTimeouts, Server


class WireAPI(StrEnum):
    """The protocols that model clients speak."""

    CHAT_COMPLETIONS = "ChatCompletions"
    MESSAGES = "Messages"
    OLLAMA_CHAT = "OllamaChat"


PATHS = {
    WireAPI.CHAT_COMPLETIONS: "/v1/chat/completions",
    WireAPI.MESSAGES: "/v1/messages",
    WireAPI.OLLAMA_CHAT: "/api/chat",
}

SPOKEN = {
    Server.VLLM: frozenset({WireAPI.CHAT_COMPLETIONS, WireAPI.MESSAGES}),
    Server.OLLAMA: frozenset({WireAPI.CHAT_COMPLETIONS, WireAPI.MESSAGES, WireAPI.OLLAMA_CHAT}),
    Server.OPENAI: frozenset({WireAPI.CHAT_COMPLETIONS}),
    Server.ANTHROPIC: frozenset({WireAPI.MESSAGES}),
    Server.OTHER: frozenset({WireAPI.CHAT_COMPLETIONS}),
}

_LOADS_MODELS = frozenset({Server.VLLM, Server.OLLAMA})
_SLOW_SECONDS = 1800
_FAST_REQUEST_SECONDS = 30
_FAST_ANSWER_SECONDS = 600


def root_url(endpoint: Endpoint, *, lane_namespace: str) -> str:
    """The root to which a path is appended, without a ``/`` or a ``/v1`` at the end.

    A host of one label is a Service beside the lane, wherever the caller's pod stands: ``http://ollama:11434`` in namespace
    ``models`` is ``http://ollama.models.svc:11434``.
    """
    parts = urlsplit(endpoint.url)
    host = parts.hostname or ""
    netloc = parts.netloc
    if "." not in host and ":" not in host and host != "localhost":
        netloc = f"{host}.{lane_namespace}.svc" + (f":{parts.port}" if parts.port else "")
    path = parts.path.rstrip("/").removesuffix("/v1")
    return urlunsplit((parts.scheme, netloc, path, "", ""))


def auth_of(endpoint: Endpoint) -> Auth:
    """The header that carries the lane's key: what the lane says, else what its kind of server wants."""
    if endpoint.credential_ref is None:
        return Auth.NONE
    if endpoint.auth is not None:
        return endpoint.auth
    return Auth.X_API_KEY if endpoint.server is Server.ANTHROPIC else Auth.BEARER


def request_seconds(server: Server, timeouts: LaneTimeouts) -> int:
    """Seconds to connect, and until the first byte of a stream (design section 4; C18)."""
    return timeouts.request_seconds or (_SLOW_SECONDS if server in _LOADS_MODELS else _FAST_REQUEST_SECONDS)


def answer_seconds(server: Server, timeouts: LaneTimeouts) -> int:
    """Seconds until a whole answer is there (design section 4; C18)."""
    return timeouts.answer_seconds or (_SLOW_SECONDS if server in _LOADS_MODELS else _FAST_ANSWER_SECONDS)
