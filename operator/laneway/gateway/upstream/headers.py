"""Which headers and query parameters pass through the gateway: all but those of one connection, those of a proxy, and keys.

There is no list of what passes: clients send headers of their own (``anthropic-beta``, ``x-stainless-*``, ``openai-organization``), and what
is not known passes as it came. What a lane must decide alone it sets itself, in ``headers[]``, which win.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from urllib.parse import quote, unquote_plus

from multidict import CIMultiDict

_HOP_BY_HOP = frozenset(
    {
        "connection",
        "http2-settings",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authentication-info",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_KEYS = frozenset({"authorization", "x-api-key", "x-goog-api-key", "api-key", "x-auth-token", "cookie", "cookie2"})
_SET_ANEW = frozenset({"host", "content-length", "content-encoding", "accept-encoding", "expect"})
_OTHER_REQUEST = frozenset(
    {"x-http-method", "x-http-method-override", "x-method-override", "x-original-url", "x-rewrite-url", "x-host"}
)
"""Servers and proxies on the way that honour these serve another method, path or host than the one of the request line."""
_ORIGIN = frozenset({"via", "true-client-ip", "cf-connecting-ip", "x-client-ip", "x-cluster-client-ip", "client-ip"})
_NOT_TO_SERVER = _HOP_BY_HOP | _KEYS | _SET_ANEW | _OTHER_REQUEST | _ORIGIN
_PROXY = ("forwarded", "x-forwarded-", "x-original-forwarded-", "x-real-ip", "x-envoy-", "x-laneway-")
_ANSWER_DROPPED = frozenset(
    {
        "set-cookie",
        "set-cookie2",
        "content-encoding",
        "alt-svc",
        "location",
        "refresh",
        "clear-site-data",
        "strict-transport-security",
        "via",
    }
)
_NOT_TO_CLIENT = _HOP_BY_HOP | _ANSWER_DROPPED
_ANSWER_PROXY = ("x-laneway-", "x-accel-", "x-envoy-")
_UNSENDABLE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")
"""Controls, and bytes that were no UTF-8."""
_QUERY_SAFE = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"#<>')


def to_server(headers: Mapping[str, str], auth: Mapping[str, str]) -> CIMultiDict[str]:
    """A request's headers as they go upstream, with the lane's key; compression is refused so that usage can be read."""
    dropped = _NOT_TO_SERVER | _listed(headers)
    passed = _without(headers, dropped, _PROXY)
    passed["Accept-Encoding"] = "identity"
    passed.update(auth)
    return passed


def to_client(headers: Mapping[str, str], *, same_length: bool, key: str | None = None) -> CIMultiDict[str]:
    """An answer's headers as they go to the client, without any that repeats the lane's key.

    ``same_length``: its bytes are those that the server sent.
    """
    dropped = _NOT_TO_CLIENT | _listed(headers)
    if not same_length:
        dropped |= {"content-length"}
    passed = _without(headers, dropped, _ANSWER_PROXY)
    if key is None:
        return passed
    return CIMultiDict((name, value) for name, value in passed.items() if key not in value)


def without_key(query: str) -> str:
    """A raw query string without its ``key`` parameters; all else keeps its bytes, and what no URL may hold is escaped."""
    parts = (part for part in query.split("&") if part and unquote_plus(part.partition("=")[0]) != "key")
    return quote("&".join(parts), safe=_QUERY_SAFE, errors="surrogateescape")


def _without(headers: Mapping[str, str], dropped: Iterable[str], prefixes: tuple[str, ...]) -> CIMultiDict[str]:
    return CIMultiDict(
        [
            (name, value)
            for name, value in headers.items()
            if (lower := name.lower()) not in dropped and not lower.startswith(prefixes) and _is_sendable(value)
        ]
    )


def _is_sendable(value: str) -> bool:
    """What is printable can be sent; asking that first is quicker than a search."""
    return value.isprintable() or not _UNSENDABLE.search(value)


def _listed(headers: Mapping[str, str]) -> frozenset[str]:
    """Headers that the sender declared to belong to its connection only; there may be several such lists."""
    lists = (value for name, value in headers.items() if name.lower() == "connection")
    return frozenset(each.strip().lower() for value in lists for each in value.split(",") if each.strip())
