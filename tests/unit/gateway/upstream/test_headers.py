"""Which headers and query parameters pass."""

from __future__ import annotations

import pytest
from multidict import CIMultiDict

from laneway.gateway.upstream.headers import to_client, to_server, without_key


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
            "TE": "trailers",
            "Upgrade": "h2c",
            "HTTP2-Settings": "x",
            "Proxy-Authorization": "Basic x",
            "api-key": "token",
            "X-Auth-Token": "token",
            "Forwarded": "for=10.0.0.1",
            "Via": "1.1 proxy",
            "X-Real-IP": "10.0.0.1",
            "True-Client-IP": "10.0.0.1",
            "X-Original-URL": "/admin",
            "X-HTTP-Method-Override": "DELETE",
            "X-Latin": "\udce9",
            "X-Control": "a\x01b",
            "Transfer-Encoding": "chunked",
            "X-Forwarded-For": "10.0.0.1",
            "X-Laneway-Anything": "x",
            "anthropic-beta": "a,b",
            "anthropic-version": "2023-06-01",
            "OpenAI-Beta": "responses=v1",
            "x-stainless-lang": "python",
            "User-Agent": "claude-cli",
            "Content-Type": "application/json",
        }
    )
    assert dict(to_server(given, {"x-api-key": "sk-lane"})) == {
        "anthropic-beta": "a,b",
        "anthropic-version": "2023-06-01",
        "OpenAI-Beta": "responses=v1",
        "x-stainless-lang": "python",
        "User-Agent": "claude-cli",
        "Content-Type": "application/json",
        "Accept-Encoding": "identity",
        "x-api-key": "sk-lane",
    }


def test_each_of_several_lists_of_the_connections_own_headers_counts() -> None:
    given = CIMultiDict([("Connection", "close"), ("connection", "X-A, x-b"), ("X-A", "1"), ("X-B", "2"), ("X-C", "3")])
    assert set(to_server(given, {})) == {"X-C", "Accept-Encoding"}
    assert set(to_client(given, same_length=True)) == {"X-C"}


def test_the_lanes_own_headers_win_and_a_client_cannot_take_them_out() -> None:
    given = CIMultiDict([("Connection", "Authorization, OpenAI-Organization"), ("OpenAI-Organization", "mine")])
    sent = to_server(given, {"Authorization": "Bearer sk-lane", "OpenAI-Organization": "theirs"})
    assert (sent.getall("Authorization"), sent.getall("OpenAI-Organization")) == (["Bearer sk-lane"], ["theirs"])


def test_a_header_that_repeats_the_lanes_key_does_not_come_back() -> None:
    given = {"request-id": "r", "X-Echo": "you sent Bearer sk-lane", "X-Accel-Redirect": "/x", "X-Laneway-Any": "x"}
    assert dict(to_client(given, same_length=True, key="sk-lane")) == {"request-id": "r"}


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
        ("a=%zz&b=%2", "a=%zz&b=%2"),
        ("a?b=/../c;d", "a?b=/../c;d"),
        ("a=b c#d", "a=b%20c%23d"),
        ("a=\u00e9&b=\udcff", "a=%C3%A9&b=%FF"),
        ("KEY=t&Key=t", "KEY=t&Key=t"),
    ],
)
def test_only_the_key_leaves_the_query(query: str, left: str) -> None:
    assert without_key(query) == left
