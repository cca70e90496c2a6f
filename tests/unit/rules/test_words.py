"""Words that hint at a refused key or at a network that failed, each with what only looks like it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laneway.rules.words import find_network_trouble, find_wrong_key

KEY_WORDS = {
    "OAuth token was revoked": "oauth",
    "Unauthorized": "unauthorized",
    "HTTP 401": "401",
    "(401)": "401",
    "missing API key": "api key",
    "bad api_key": "api key",
    "Auth failed": "authentication failed",
    "auth error": "authentication failed",
    "auth expired": "authentication failed",
    "Authentication failed": "authentication failed",
    "authentication_error": "authentication failed",
    "authentication: expired": "authentication failed",
    "session expired": "session expired",
    "Your session has long EXPIRED": "session expired",
}
NO_KEY_WORDS = [
    "oauthlib is installed",
    "unauthorizedly",
    "4010 tokens",
    "1,401 tokens",
    "401.5 ms",
    "commit a401 and 401f",
    "apikey",
    "api keys",
    "the auth module",
    "author failed",
    "authentication was an error-free step",
    "session\nexpired",
    "obsession expired",
    "expired session",
    "",
]


@pytest.mark.row("S3.37")
@pytest.mark.parametrize(("text", "name"), KEY_WORDS.items(), ids=KEY_WORDS)
def test_words_of_a_refused_key(text: str, name: str) -> None:
    assert find_wrong_key(text) == name
    assert find_wrong_key(f"the agent said: {text.upper()}!") == name


@pytest.mark.row("S3.37")
@pytest.mark.parametrize("text", NO_KEY_WORDS)
def test_what_is_no_word_of_a_refused_key(text: str) -> None:
    assert find_wrong_key(text) is None


NETWORK_WORDS = {
    "Connection refused": "connection refused",
    "connect ECONNREFUSED 10.0.0.7:443": "econnrefused",
    "DNS lookup failed": "dns",
    "Name or service not known": "name or service not known",
    "connect timed out": "connection timed out",
    "Connection timed out": "connection timed out",
    "nodename nor servname provided, or not known": "nodename nor servname",
    "network unreachable": "network unreachable",
    "Network is unreachable": "network unreachable",
    "Connection reset by peer": "connection reset",
    **{
        f"{code} {words}": "server unavailable"
        for code in (500, 502, 503)
        for words in ("Service Unavailable", "Bad Gateway", "Gateway Timeout")
    },
    "503 Server Error: Service Unavailable for url": "server unavailable",
}
NO_NETWORK_WORDS = [
    "the connection was refused",
    "econnrefuseds",
    "dnsmasq is installed",
    "connected, timed out later",
    "unreachable code",
    "reset the connection",
    "500",
    "503 of 600 tests passed",
    "504 Gateway Timeout",
    "Service Unavailable",
    "1503 service unavailable",
    "1,503 service unavailable",
    "503\nservice unavailable",
    "",
]


@pytest.mark.row("S3.38")
@pytest.mark.parametrize(("text", "name"), NETWORK_WORDS.items(), ids=NETWORK_WORDS)
def test_words_of_network_trouble(text: str, name: str) -> None:
    assert find_network_trouble(text) == name
    assert find_network_trouble(f"the agent said: {text.upper()}!") == name


@pytest.mark.row("S3.38")
@pytest.mark.parametrize("text", NO_NETWORK_WORDS)
def test_what_is_no_word_of_network_trouble(text: str) -> None:
    assert find_network_trouble(text) is None


@given(st.text())
def test_what_is_found_is_a_name_of_ours_and_never_a_piece_of_the_text(text: str) -> None:
    assert find_wrong_key(text) in {None, *KEY_WORDS.values()}
    assert find_network_trouble(text) in {None, *NETWORK_WORDS.values()}
