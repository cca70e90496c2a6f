"""The HTTP surface under what no client sends: request smuggling, broken heads and bodies, pipelines, half-closed connections."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from support.fuzzing import fuzz
from unit.gateway.surface import STATUS, Surface, serving

CHAT = b'{"model":"x","messages":[]}'


@pytest.fixture(scope="module")
def surface(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Surface]:
    with serving(tmp_path_factory.mktemp("surface")) as surface:
        yield surface


def request(
    bearer: bytes, *headers: bytes, body: bytes = b"", line: bytes = b"POST /v1/chat/completions HTTP/1.1"
) -> bytes:
    return b"\r\n".join([line, b"Host: g", bearer, *headers, b"", body])


def length(body: bytes) -> bytes:
    return b"Content-Length: %d" % len(body)


def chunked(body: bytes) -> bytes:
    return b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)


TE = b"Transfer-Encoding: chunked"
INNER = b"POST /api/chat HTTP/1.1\r\nHost: g\r\n%s\r\nContent-Length: 27\r\n\r\n" + CHAT

SHAPES = [
    pytest.param([length(b"0\r\n\r\n"), TE], b"0\r\n\r\n%s", id="a length and chunks"),
    pytest.param([TE, length(CHAT)], chunked(CHAT) + b"%s", id="chunks and a length"),
    pytest.param([length(CHAT), b"Content-Length: 5"], CHAT + b"%s", id="two lengths"),
    pytest.param([length(CHAT), length(CHAT)], CHAT + b"%s", id="the same length twice"),
    pytest.param([b"Content-Length: 27, 27"], CHAT + b"%s", id="two lengths in one header"),
    pytest.param([b"Content-Length: +27"], CHAT + b"%s", id="a length with a sign"),
    pytest.param([b"Content-Length: 0x1b"], CHAT + b"%s", id="a length in hexadecimal"),
    pytest.param([b"Content-Length: 2_7"], CHAT + b"%s", id="a length with an underscore"),
    pytest.param([b"Content-Length: -1"], CHAT + b"%s", id="a negative length"),
    pytest.param([b"Content-Length: " + b"9" * 40], CHAT + b"%s", id="a length without end"),
    pytest.param([b"Content-Length : 27"], CHAT + b"%s", id="a space before the colon"),
    pytest.param([b" Content-Length: 27"], CHAT + b"%s", id="a folded header"),
    pytest.param([b"X: a", b"\tContent-Length: 27"], CHAT + b"%s", id="a header folded into another"),
    pytest.param([b"Content-Length: 27\x00"], CHAT + b"%s", id="a NUL in a header"),
    pytest.param([b"Content\x00-Length: 27"], CHAT + b"%s", id="a NUL in a name"),
    pytest.param([b"X: a\rContent-Length: 27"], CHAT + b"%s", id="a bare CR"),
    pytest.param([b"Transfer-Encoding: xchunked"], chunked(CHAT) + b"%s", id="an encoding that nobody knows"),
    pytest.param(
        [b"Transfer-Encoding: chunked, identity"], chunked(CHAT) + b"%s", id="chunks that are not the last encoding"
    ),
    pytest.param([b"Transfer-Encoding:\x0bchunked"], chunked(CHAT) + b"%s", id="a vertical tab"),
    pytest.param([TE, b"Transfer-Encoding: identity"], chunked(CHAT) + b"%s", id="two encodings"),
    pytest.param([TE], b"1b;a=\n" + CHAT + b"\r\n0\r\n\r\n%s", id="a chunk extension with a bare LF"),
    pytest.param([TE], b"1b \r\n" + CHAT + b"\r\n0\r\n\r\n%s", id="a space after a chunk's size"),
    pytest.param([TE], b"0x1b\r\n" + CHAT + b"\r\n0\r\n\r\n%s", id="a chunk's size with 0x"),
    pytest.param([TE], b"-1\r\n" + CHAT + b"\r\n0\r\n\r\n%s", id="a negative chunk"),
    pytest.param([TE], b"f" * 17 + b"\r\n" + CHAT + b"\r\n0\r\n\r\n%s", id="a chunk larger than a number"),
    pytest.param([TE], b"1b\r\n" + CHAT + b"XX0\r\n\r\n%s", id="a chunk without its end"),
    pytest.param([TE], b"1b\n" + CHAT + b"\n0\n\n%s", id="chunks with bare line feeds"),
]


@pytest.mark.parametrize(("headers", "body"), SHAPES)
def test_a_request_whose_length_can_be_read_in_two_ways_hides_no_other(
    surface: Surface, headers: list[bytes], body: bytes
) -> None:
    """It is refused and its connection closed, or it is read in the one way that leaves the hidden request a request of its own."""
    surface.seen.clear()
    hidden = INNER % surface.bearer
    statuses = surface.statuses(request(surface.bearer, *headers, body=body % hidden))
    assert statuses, "it was answered"
    assert 500 not in statuses
    if statuses[0] == 400:
        assert len(statuses) == 1
        assert not surface.seen
    else:
        paths = [path for _, path, _, _ in surface.seen]
        assert len(statuses) == len(paths) <= 2
        assert paths in ([], ["/v1/chat/completions"], ["/v1/chat/completions", "/api/chat"])
    assert surface.is_well()


AMBIGUOUS = [0, 1, 2, 4, 10, 13, 18]
"""Of SHAPES: those that servers are known to read in two ways."""


@pytest.mark.parametrize(("headers", "body"), [SHAPES[number] for number in AMBIGUOUS])
def test_the_known_forms_of_smuggling_are_refused(surface: Surface, headers: list[bytes], body: bytes) -> None:
    surface.seen.clear()
    assert surface.statuses(request(surface.bearer, *headers, body=body % (INNER % surface.bearer))) == [400]
    assert surface.seen == []


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"CONNECT 127.0.0.1:22 HTTP/1.1", id="CONNECT"),
        pytest.param(b"CONNECT /v1/chat/completions HTTP/1.1", id="CONNECT with a path"),
        pytest.param(b"GET http://169.254.169.254/latest/meta-data HTTP/1.1", id="another host as target"),
        pytest.param(b"PRI * HTTP/2.0", id="HTTP/2"),
        pytest.param(b"OPTIONS * HTTP/1.1", id="OPTIONS *"),
        pytest.param(b"TRACE /v1/chat/completions HTTP/1.1", id="TRACE"),
        pytest.param(b"PUT /v1/chat/completions HTTP/1.1", id="another method"),
        pytest.param(b"POST /v1/chat/\x00completions HTTP/1.1", id="a NUL"),
        pytest.param(b"POST @evil.example/v1/chat/completions HTTP/1.1", id="a user"),
        pytest.param(b"POST //evil.example/v1/chat/completions HTTP/1.1", id="a host in the path"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", id="TLS"),
        pytest.param(b"\xff\xff\xff", id="junk"),
    ],
)
def test_a_request_line_that_means_something_else_reaches_no_server(surface: Surface, line: bytes) -> None:
    surface.seen.clear()
    statuses = surface.statuses(request(surface.bearer, length(CHAT), body=CHAT, line=line))
    assert all(400 <= status < 500 for status in statuses), statuses
    assert surface.seen == []
    assert surface.is_well()


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"POST /v1/chat/completions HTTP/2.0", id="a version that is not spoken"),
        pytest.param(b"POST /v1/chat/completions", id="no version"),
        pytest.param(b"POST  /v1/chat/completions HTTP/1.1", id="two spaces"),
    ],
)
def test_a_request_line_that_is_only_untidy_is_refused_or_taken_as_what_it_can_only_mean(
    surface: Surface, line: bytes
) -> None:
    surface.seen.clear()
    statuses = surface.statuses(request(surface.bearer, length(CHAT), body=CHAT, line=line))
    assert (statuses, [path for _, path, _, _ in surface.seen]) in (([400], []), ([200], ["/v1/chat/completions"]))
    assert surface.is_well()


def test_a_target_with_a_host_is_served_by_its_path_alone(surface: Surface) -> None:
    surface.seen.clear()
    line = b"POST http://evil.example:99/v1/chat/completions?a=b HTTP/1.1"
    assert surface.statuses(request(surface.bearer, length(CHAT), body=CHAT, line=line)) == [200]
    ((_, path, headers, _),) = surface.seen
    assert path == "/v1/chat/completions?a=b"
    assert headers["Host"] == f"127.0.0.1:{URL(surface.kit.server_url).port}"


def test_pipelined_calls_are_answered_in_order_each_by_itself(surface: Surface) -> None:
    surface.seen.clear()
    one = request(surface.bearer, length(CHAT), body=CHAT)
    wrong = request(b"Authorization: Bearer no", length(CHAT), body=CHAT)
    assert surface.statuses(one + wrong + one + INNER % surface.bearer, patience=1.0) == [200, 401, 200, 200]
    assert len(surface.seen) == 3
    assert surface.is_well()


@pytest.mark.parametrize("sent", [1, 40, 200, 10**6], ids=["a byte", "half a head", "half a body", "all"])
def test_a_client_that_closes_its_half_leaves_nothing(surface: Surface, sent: int) -> None:
    whole = request(surface.bearer, length(CHAT), body=CHAT)
    surface.exchange(whole[:sent], half_close=True)
    surface.wait_until_well()


def test_an_upgrade_is_not_taken(surface: Surface) -> None:
    surface.seen.clear()
    for upgrade in (b"websocket", b"h2c"):
        headers = (
            b"Connection: Upgrade",
            b"Upgrade: " + upgrade,
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            length(CHAT),
        )
        statuses = surface.statuses(request(surface.bearer, *headers, body=CHAT))
        assert statuses in ([200], [400])
    assert all("Upgrade" not in headers for _, _, headers, _ in surface.seen)
    assert surface.is_well()


# By chance

_METHODS = st.sampled_from([b"POST"] * 6 + [b"GET", b"CONNECT", b"OPTIONS", b"post", b"P\x00ST", b""])
_TARGETS = st.sampled_from(
    [b"/v1/chat/completions"] * 6
    + [b"/v1/messages", b"/api/chat", b"/v1beta/models/a:generateContent", b"/v1/models", b"*", b"http://e/v1/messages"]
    + [b"/v1/chat/completions?key=\xff", b"/v1/../v1/chat/completions", b"/%00", b"/" + b"a" * 9000, b"?", b""]
)
_VERSIONS = st.sampled_from([b"HTTP/1.1"] * 6 + [b"HTTP/1.0", b"HTTP/2.0", b"HTTP/1.10", b"HTTP/0.9", b"ICY", b""])
_HEADERS = st.lists(
    st.sampled_from(
        [
            *(
                b"Content-Length: 27",
                b"Content-Length: 5",
                b"Content-Length: 0",
                b"Content-Length: 99999",
                b"Content-Length: x",
            ),
            *(
                b"Transfer-Encoding: chunked",
                b"Transfer-Encoding: Chunked ",
                b"Transfer-Encoding: gzip, chunked",
                b"TE: x",
            ),
            *(b"Transfer-Encoding:\tchunked", b"Transfer_Encoding: chunked", b"Expect: 100-continue", b"Expect: x"),
            *(
                b"Connection: close",
                b"Connection: keep-alive, Authorization",
                b"Connection: upgrade",
                b"Upgrade: websocket",
            ),
            *(
                b"Content-Encoding: gzip",
                b"Content-Encoding: deflate",
                b"Content-Encoding: br",
                b"Content-Type: \xff\xfe",
            ),
            *(
                b"Host: other",
                b"Cookie: a=b",
                b"X-Forwarded-For: 1",
                b" folded",
                b"\tfolded",
                b": empty",
                b"NoColon",
                b"A\x00: b",
            ),
            *(
                b"X: \x00",
                b"X: \r",
                b"X: \xed\xa0\x80",
                b"X-Long: " + b"a" * 8000,
                b"anthropic-version: 1",
                b"x-goog-api-key: k",
            ),
        ]
    ),
    max_size=5,
)
_BODIES = st.sampled_from(
    [
        CHAT,
        chunked(CHAT),
        b"",
        b"0\r\n\r\n",
        b"1b\r\n",
        b"zz\r\n",
        b"5\r\nhello\r\n0\r\nTrailer: x\r\n\r\n",
        b"\x1f\x8b\x08",
    ]
) | st.binary(max_size=60)
_LINE_ENDS = st.sampled_from([b"\r\n"] * 8 + [b"\n", b"\r", b"\r\r\n"])


@st.composite
def _requests(draw: st.DrawFn) -> bytes:
    """One to three requests, some of them with a token (written @), spoilt here and there."""
    sent = b""
    for _ in range(draw(st.integers(1, 3))):
        end = draw(_LINE_ENDS)
        head = [b" ".join([draw(_METHODS), draw(_TARGETS), draw(_VERSIONS)]), b"Host: g", *draw(_HEADERS)]
        head += draw(st.sampled_from([[b"Content-Length: 27"], [b"Transfer-Encoding: chunked"], []]))
        head.insert(draw(st.integers(1, len(head))), draw(st.sampled_from([b"@"] * 5 + [b"Authorization: Bearer x"])))
        sent += end.join([*head, b"", draw(_BODIES)])
    for _ in range(draw(st.sampled_from([0, 0, 1, 2]))):
        place = draw(st.integers(0, len(sent)))
        sent = sent[:place] + draw(st.binary(max_size=3)) + sent[place + draw(st.integers(0, 3)) :]
    return sent


@given(sent=_requests(), cuts=st.lists(st.integers(0, 400), max_size=2))
@fuzz(150)
def test_whatever_is_sent_is_answered_in_http_or_not_at_all_and_only_calls_reach_the_server(
    surface: Surface, sent: bytes, cuts: list[int]
) -> None:
    surface.seen.clear()
    tokens = sent.count(b"@")
    raw = sent.replace(b"@", surface.bearer)
    places = [0, *sorted(cuts), len(raw)]
    got = surface.exchange(*(raw[a:b] for a, b in pairwise(places)), patience=0.15)
    assert not got or STATUS.match(got), got[:80]
    statuses = [int(code) for code in STATUS.findall(got)]
    assert 500 not in statuses
    assert len(surface.seen) <= tokens
    for method, path, headers, body in surface.seen:
        assert (method, path.partition("?")[0]) in {
            ("POST", "/v1/chat/completions"),
            ("POST", "/v1/messages"),
            ("POST", "/api/chat"),
        }
        assert json.loads(body)["model"] == "smollm2"
        assert headers["Content-Length"] == str(len(body))
        assert not {"Authorization", "Cookie", "Transfer-Encoding", "X-Forwarded-For"} & headers.keys()
    assert surface.errors == [], [logging.Formatter().format(record) for record in surface.errors]


def test_after_all_that_the_gateway_serves_and_holds_nothing(surface: Surface) -> None:
    surface.wait_until_well()
    assert surface.errors == []
