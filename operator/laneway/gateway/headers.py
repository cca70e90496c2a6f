"""Which headers and query parameters pass through the gateway: all but those of one connection, those of a proxy, and keys."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import unquote_plus

from multidict import CIMultiDict

_HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_KEYS = frozenset({"authorization", "x-api-key", "x-goog-api-key", "cookie"})
_SET_ANEW = frozenset({"host", "content-length", "content-encoding", "accept-encoding", "expect"})
_PROXY = ("forwarded", "x-forwarded-", "x-real-ip", "x-laneway-")
_ANSWER_DROPPED = frozenset({"set-cookie", "content-encoding", "alt-svc", "location"})


def to_server(headers: Mapping[str, str], auth: Mapping[str, str]) -> CIMultiDict[str]:
    """A request's headers as they go upstream, with the lane's key; compression is refused so that usage can be read."""
    dropped = _HOP_BY_HOP | _KEYS | _SET_ANEW | _listed(headers)
    passed = CIMultiDict(
        (name, value)
        for name, value in headers.items()
        if name.lower() not in dropped and not name.lower().startswith(_PROXY)
    )
    passed["Accept-Encoding"] = "identity"
    passed.update(auth)
    return passed


def to_client(headers: Mapping[str, str], *, same_length: bool) -> CIMultiDict[str]:
    """An answer's headers as they go to the client. ``same_length``: its bytes are those that the server sent."""
    dropped = _HOP_BY_HOP | _ANSWER_DROPPED | _listed(headers)
    if not same_length:
        dropped |= {"content-length"}
    return CIMultiDict((name, value) for name, value in headers.items() if name.lower() not in dropped)


def without_key(query: str) -> str:
    """A raw query string without its ``key`` parameters; everything else keeps its bytes."""
    parts = (part for part in query.split("&") if part and unquote_plus(part.partition("=")[0]) != "key")
    return "&".join(parts)


def _listed(headers: Mapping[str, str]) -> frozenset[str]:
    """Headers that the sender declared to belong to its connection only."""
    return frozenset(name.strip().lower() for name in headers.get("Connection", "").split(",") if name.strip())
