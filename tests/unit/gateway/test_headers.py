"""Which headers and query parameters pass."""

from __future__ import annotations

import pytest
from multidict import CIMultiDict

from laneway.gateway.headers import to_client, to_server, without_key


def test_what_goes_upstream() -> None:
    given = CIMultiDict(
        {
            "Authorization": "Bearer token",
            "x-api-key": "token",
            "X-Goog-Api-Key": "token",
            "Cookie": "c",
            "Host": "gateway",
            "Content-Length": "9",
            "Accept-Encoding": "gzip, br",
            "Connection": "keep-alive, X-Mine",
            "X-Mine": "hop",
            "Transfer-Encoding": "chunked",
            "X-Forwarded-For": "10.0.0.1",
            "X-Laneway-Anything": "x",
            "anthropic-beta": "a,b",
            "anthropic-version": "2023-06-01",
            "User-Agent": "claude-cli",
            "Content-Type": "application/json",
        }
    )
    assert dict(to_server(given, {"x-api-key": "sk-lane"})) == {
        "anthropic-beta": "a,b",
        "anthropic-version": "2023-06-01",
        "User-Agent": "claude-cli",
        "Content-Type": "application/json",
        "Accept-Encoding": "identity",
        "x-api-key": "sk-lane",
    }


@pytest.mark.parametrize(
    ("same_length", "kept"),
    [
        (True, {"Content-Type": "a", "request-id": "r", "Content-Length": "9"}),
        (False, {"Content-Type": "a", "request-id": "r"}),
    ],
    ids=["untouched", "changed"],
)
def test_what_comes_back(same_length: bool, kept: dict[str, str]) -> None:
    given = {
        "Content-Type": "a",
        "request-id": "r",
        "Content-Length": "9",
        "Set-Cookie": "c",
        "Connection": "close",
        "Transfer-Encoding": "chunked",
    }
    assert dict(to_client(given, same_length=same_length)) == kept


@pytest.mark.parametrize(
    ("query", "left"),
    [
        ("", ""),
        ("key=t", ""),
        ("a=1&key=t&b=%2F", "a=1&b=%2F"),
        ("k%65y=t&a", "a"),
        ("alt=sse&monkey=1", "alt=sse&monkey=1"),
        ("beta=true", "beta=true"),
    ],
)
def test_only_the_key_leaves_the_query(query: str, left: str) -> None:
    assert without_key(query) == left
