"""Whatever a model server answers, byte by byte: the client gets it or a refusal, and the ledger and the state go on."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laneway.api.gatewaystate import AttemptState
from support.fuzzing import ANSWERS, STREAMS, fuzz, spoilt
from unit.gateway.kit import ATTEMPT
from unit.gateway.surface import STATUS, Surface, serving

_LINES = st.sampled_from(
    [b"HTTP/1.1 200 OK"] * 8
    + [b"HTTP/1.1 429 Slow", b"HTTP/1.1 500 No", b"HTTP/1.1 404 No", b"HTTP/1.1 204 Nothing", b"HTTP/1.1 304 Same"]
    + [b"HTTP/1.1 101 Switching Protocols", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK", b"HTTP/1.1 307 Elsewhere"]
    + [
        b"HTTP/1.1 999 Odd",
        b"HTTP/1.1 000 Odd",
        b"HTTP/1.1 20 Odd",
        b"HTTP/1.0 200 OK",
        b"HTTP/2.0 200 OK",
        b"",
        b"junk",
    ]
)
_HEADERS = st.lists(
    st.sampled_from(
        [
            *(
                b"Content-Type: text/event-stream",
                b"Content-Type: application/x-ndjson",
                b"Content-Type: \xff",
                b"X: \xe9\xff",
            ),
            *(
                b"Content-Encoding: gzip",
                b"Content-Encoding: br",
                b"Content-Encoding: x",
                b"Transfer-Encoding: chunked",
            ),
            *(b"Content-Length: 5", b"Content-Length: 99999", b"Content-Length: x", b"Connection: close, Content-Type"),
            *(b"Connection: upgrade", b"Upgrade: websocket", b"Set-Cookie: a=b", b"Location: http://169.254.169.254/"),
            *(
                b"Retry-After: " + b"9" * 30,
                b"Retry-After: x",
                b"Date: \xe9",
                b"anthropic-ratelimit-unified-5h-status: rejected",
            ),
            *(b"X: \x00", b"X: a\x01b", b" folded", b"NoColon", b": empty", b"X-Long: " + b"a" * 70_000, b"Trailer: X"),
        ]
    ),
    max_size=4,
)
_CALLS = st.sampled_from(
    [
        (b"/v1/chat/completions", {"messages": []}),
        (b"/v1/chat/completions", {"messages": [], "stream": True}),
        (b"/v1/messages", {"messages": [], "max_tokens": 5, "stream": True}),
        (b"/v1/responses", {"input": "", "stream": True}),
        (b"/v1/responses", {"input": ""}),
        (b"/api/chat", {"messages": []}),
        (b"/api/generate", {"prompt": "", "stream": False}),
        (b"/v1/embeddings", {"input": ""}),
    ]
)


@pytest.fixture(scope="module")
def surface(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Surface]:
    with serving(tmp_path_factory.mktemp("answers"), raw=True) as surface:
        yield surface


@given(
    line=_LINES,
    headers=_HEADERS,
    body=spoilt(ANSWERS) | STREAMS,
    told=st.sampled_from(["length", "chunks", ""]),
    call=_CALLS,
)
@fuzz(60)
def test_an_answer_is_passed_on_or_refused_and_the_state_can_be_told(
    surface: Surface,
    *,
    line: bytes,
    headers: list[bytes],
    body: bytes,
    told: str,
    call: tuple[bytes, dict[str, object]],
) -> None:
    framing = {"length": [b"Content-Length: %d" % len(body)], "chunks": [b"Transfer-Encoding: chunked"], "": []}[told]
    sent = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) if told == "chunks" and body else body
    surface.answer = b"\r\n".join([line, b"Content-Type: application/json", *headers, *framing, b"", sent])
    asked = json.dumps({"model": "x", **call[1]}).encode()
    head = [
        b"POST %s HTTP/1.1" % call[0],
        b"Host: g",
        surface.bearer,
        b"Connection: close",
        b"Content-Length: %d" % len(asked),
    ]
    got = surface.exchange(b"\r\n".join([*head, b"", asked]), patience=5.0)
    assert not got or STATUS.match(got), got[:80]
    assert b"Server got itself in trouble" not in got
    assert all(200 <= int(status) < 600 for status in STATUS.findall(got)[:1])
    assert b"Set-Cookie" not in got.partition(b"\r\n\r\n")[0]
    state = surface.kit.state.attempt_state(ATTEMPT)
    assert AttemptState.model_validate_json(state.model_dump_json(by_alias=True)).calls == state.calls
    assert surface.kit.state.since(epoch=None, version=0).model_dump_json(by_alias=True)
    assert surface.kit.ledger.failure is None
    assert surface.errors == [], [record.exc_info for record in surface.errors]


def test_after_all_that_every_call_is_settled(surface: Surface) -> None:
    surface.wait_until_well()
    state = surface.kit.state.attempt_state(ATTEMPT)
    assert (state.open_calls, surface.errors, surface.kit.ledger.failure) == (0, [], None)
