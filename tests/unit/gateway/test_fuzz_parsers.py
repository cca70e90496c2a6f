"""Whatever a client or a model server writes: parsers refuse it in their own words or read it, and what they read can be kept and told."""

from __future__ import annotations

import ipaddress
import json
import sqlite3
from datetime import UTC, datetime
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict
from pydantic import ValidationError

from laneway.api.endpoint import Server
from laneway.api.gatewaystate import AttemptState, CallFailure, GatewayState
from laneway.gateway.calls.exchange import call_failure
from laneway.gateway.cluster.tokens import plain_address, token_in
from laneway.gateway.ports.agents import CHAT, EMBEDDINGS, GEMINI, GEMINI_STREAM, MESSAGES, OLLAMA, RESPONSES
from laneway.gateway.upstream.addresses import Rules, forms, strict
from laneway.gateway.upstream.headers import to_client, to_server, without_key
from laneway.gateway.wire import frames
from laneway.gateway.wire.base import Kind, Prepared, Reading, Refusal, Wire, read_error
from laneway.gateway.wire.jsontext import JsonText, NotAnObject
from laneway.rules.classify import Signals, judge
from laneway.rules.pricing import Prices, cost_micro_usd
from laneway.rules.token import AttemptId, TokenKeys, is_operator, key_id_of, sign, verify
from support.fuzzing import (
    ANSWERS,
    COUNTS,
    EVENTS,
    JSONS,
    ODD_NUMBERS,
    REQUESTS,
    STREAMS,
    TEXTS,
    WORDS,
    dump,
    fuzz,
    shaped,
    spoilt,
)

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
KEYS = TokenKeys(current="k1", keys={"k1": b"1" * 32})
DEAREST = Prices(*[10**12] * 4)
WIRES: tuple[Wire, ...] = (CHAT, RESPONSES, EMBEDDINGS, MESSAGES, OLLAMA, GEMINI, GEMINI_STREAM)
EACH_WIRE = pytest.mark.parametrize(
    "wire", WIRES, ids=lambda wire: f"{wire.api}{'-stream' if wire is GEMINI_STREAM else ''}"
)
CHUNKS = st.lists(st.integers(1, 40), min_size=1, max_size=9)


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    """Data in chunks of these sizes, over and over."""
    parts, turn = [], 0
    while data:
        size = sizes[turn % len(sizes)]
        parts.append(data[:size])
        data, turn = data[size:], turn + 1
    return parts


def can_be_kept(reading: Reading) -> None:
    """The ledger and the state take what was read."""
    usage = reading.usage
    numbers = [usage.input_tokens, usage.output_tokens, usage.cache_read_tokens, usage.cache_write_tokens]
    kept = [*numbers, cost_micro_usd(DEAREST, usage), reading.finish_reason]
    with sqlite3.connect(":memory:") as database:
        assert database.execute("SELECT ?, ?, ?, ?, ?, ?", kept).fetchone() == tuple(kept)
    database.close()
    AttemptState(run_uid="u", attempt=1, finish_reason=reading.finish_reason).model_dump_json()
    if reading.error is not None:
        can_be_told(judge_of(200, reading.error.body), reading.error.message)


def judge_of(status: int | None, body: object, headers: dict[str, str] | None = None) -> object:
    return judge(Signals(status=status, error=read_error(dump(body)), headers=headers or {}), now=NOW)


def can_be_told(verdict: object, message: str) -> None:
    """The operator reads the failure as it was written."""
    failure = call_failure(verdict, message, sent=NOW, seen=NOW)  # type: ignore[arg-type]
    assert CallFailure.model_validate_json(failure.model_dump_json(by_alias=True)) == failure


@given(spoilt(REQUESTS | JSONS))
@fuzz(300)
def test_json_text_refuses_or_gives_back_what_it_read(body: bytes) -> None:
    try:
        text = JsonText(body)
    except NotAnObject:
        return
    assert text.render() == body
    text.put("model", "m")
    changed = json.loads(text.render())
    assert {value for key, value in changed.items() if key.casefold() == "model"} == {"m"}


@EACH_WIRE
@given(body=spoilt(REQUESTS), server=st.sampled_from(Server), tokens=st.integers(1, 10**6))
@fuzz(100)
def test_a_request_is_refused_or_goes_out_with_the_lanes_model_and_within_its_bound(
    wire: Wire, body: bytes, server: Server, tokens: int
) -> None:
    try:
        prepared = wire.prepare(body, model="the-lane's", server=server)
        clamped = wire.clamp(prepared, tokens=tokens, server=server)
    except NotAnObject:
        return
    for each in (prepared, clamped):
        sent = json.loads(each.body)
        named = {str(value) for key, value in sent.items() if key.casefold() == "model"}
        assert named <= {"the-lane's", "models/the-lane's"}
    assert clamped.output_tokens is None or clamped.output_tokens >= 0


@EACH_WIRE
@given(answer=spoilt(ANSWERS), sizes=CHUNKS)
@fuzz(100)
def test_a_whole_answer_passes_unchanged_and_what_was_read_can_be_kept(
    wire: Wire, answer: bytes, sizes: list[int]
) -> None:
    reader = wire.whole_reader()
    assert b"".join([*(reader.feed(part) for part in cut(answer, sizes)), reader.close()]) == answer
    can_be_kept(reader.reading)


@EACH_WIRE
@given(stream=STREAMS, sizes=CHUNKS, asked=st.booleans())
@fuzz(100)
def test_a_stream_passes_whatever_it_holds_and_what_was_read_can_be_kept(
    wire: Wire, stream: bytes, sizes: list[int], *, asked: bool
) -> None:
    prepared = Prepared(body=b"", streamed=True, asked_usage=asked)
    reader, at_once = wire.stream_reader(prepared), wire.stream_reader(prepared)
    out = b"".join([*(reader.feed(part) for part in cut(stream, sizes)), reader.close()])
    assert out == at_once.feed(stream) + at_once.close()
    assert asked or out == stream
    assert reader.reading.usage == at_once.reading.usage
    can_be_kept(reader.reading)


@given(st.lists(EVENTS, max_size=5).map(b"".join), CHUNKS, st.sampled_from([frames.events, frames.lines]))
@fuzz(300)
def test_the_parts_of_a_stream_are_the_stream(stream: bytes, sizes: list[int], splitter: object) -> None:
    split = splitter()  # type: ignore[operator]
    parts = [part for chunk in cut(stream, sizes) for part in split.feed(chunk)]
    assert b"".join([*parts, split.close()]) == stream
    assert all(isinstance(frames.data_of(part), bytes) for part in parts)


HEADER_NAMES = st.sampled_from(
    [
        *("Retry-After", "retry-after-ms", "Date", "x-ratelimit-reset-requests", "x-ratelimit-remaining-requests"),
        *("anthropic-ratelimit-tokens-reset", "anthropic-ratelimit-tokens-remaining", "x-should-retry"),
        *("anthropic-ratelimit-unified-5h-status", "anthropic-ratelimit-unified-5h-reset", "Connection", "X"),
        *("Content-Length", "Transfer-Encoding", "Authorization", "x-api-key", "Cookie", "Host"),
    ]
)
TIMES = st.sampled_from(
    [
        *("0", "-1", "1", "1.5", "1e9", "9" * 15, "9" * 400, "nan", "inf", "٣", "1m6s", "6m0s" * 50, "rejected"),
        *("Wed, 21 Oct 2026 07:28:00 GMT", "Wed, 99 Foo 9999 99:99:99 GMT", "1 Jan 0001 00:00:00 +9999", "2026-13-01"),
        *(
            "2026-11-21T00:00:00Z",
            "0001-01-01T00:00:00+23:59",
            "9999-12-31T23:59:59-23:59",
            "Mon, 01 Jan 99999 00:00 GMT",
        ),
    ]
)
HEADERS = st.dictionaries(HEADER_NAMES | TEXTS, TIMES | TEXTS, max_size=6)


@given(st.none() | st.integers(0, 999), spoilt(ANSWERS), HEADERS)
@fuzz(300)
def test_every_failure_has_a_class_and_can_be_told(status: int | None, body: bytes, headers: dict[str, str]) -> None:
    error = read_error(body)
    verdict = judge(Signals(status=status, error=error, headers=headers), now=NOW)
    assert verdict.reset_time is None or verdict.reset_source is not None
    can_be_told(verdict, error.message)


@EACH_WIRE
@given(kind=st.sampled_from(Kind), message=TEXTS, wait=st.none() | st.integers(0, 10**9))
@fuzz(50)
def test_a_refusal_can_be_sent_whatever_its_words(wire: Wire, kind: Kind, message: str, wait: int | None) -> None:
    answer = wire.refuse(Refusal(kind=kind, message=message, retry_after_seconds=wait))
    assert 400 <= answer.status < 600
    json.loads(answer.body)


TOKEN = sign(KEYS, AttemptId("uid", 1))
TOKENS = TEXTS | st.builds(
    lambda at, junk: TOKEN[:at] + junk + TOKEN[at:],
    st.integers(0, len(TOKEN)),
    st.text(st.characters(exclude_categories=())),
)


@given(TOKENS)
@fuzz(300)
def test_no_text_but_a_token_is_a_token(text: str) -> None:
    assert verify(KEYS, text) is None or text == TOKEN
    assert key_id_of(text) is None or text.startswith("lw1.")
    assert not is_operator(KEYS, text)


@given(HEADERS, TEXTS)
@fuzz(300)
def test_headers_give_a_token_or_none_and_what_passes_can_be_sent(headers: dict[str, str], query_key: str) -> None:
    given_headers = CIMultiDict(headers)
    token = token_in(given_headers, query_key)
    assert token is None or token
    for passed in (to_server(given_headers, {"x-api-key": "sk"}), to_client(given_headers, same_length=True, key="sk")):
        for value in passed.values():
            assert not {"\r", "\n", "\x00"} & set(value.encode().decode())
    assert to_server(given_headers, {"x-api-key": "sk"}).getall("x-api-key") == ["sk"]
    assert not {"Authorization", "Cookie", "Host", "Transfer-Encoding"} & set(to_server(given_headers, {}))


@given(st.text(st.characters(exclude_categories=()), max_size=60) | st.builds("{}=x&{}".format, TEXTS, TEXTS))
@fuzz(300)
def test_a_query_can_be_sent_and_means_the_same_without_its_key(query: str) -> None:
    try:
        before = unquote_to_bytes(query.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError:
        return  # no bytes of a request line are read as such a character
    sent = without_key(query)
    assert sent.isascii()
    assert not set(' \r\n\t#"<>\x00') & set(sent)
    if "&" not in query and "=" not in query and before != b"key":
        assert unquote_to_bytes(sent) == before


FAILURES = shaped(
    sentTime=TIMES,
    seenTime=TIMES,
    status=ODD_NUMBERS,
    message=TEXTS,
    resetTime=TIMES,
    resetSource=WORDS,
    cut=st.booleans(),
)
ATTEMPTS = shaped(
    runUid=TEXTS, attempt=ODD_NUMBERS, totals=shaped(turns=COUNTS, inputTokens=COUNTS), failure=FAILURES, version=COUNTS
)
STATES = (
    ATTEMPTS
    | FAILURES
    | shaped(epoch=TEXTS, startedTime=TIMES, version=COUNTS, attempts=st.lists(ATTEMPTS, max_size=2))
)


@given(spoilt(STATES))
@fuzz(400)
def test_the_state_of_a_gateway_is_read_or_refused(raw: bytes) -> None:
    for model in (GatewayState, AttemptState, CallFailure):
        try:
            read = model.model_validate_json(raw)
        except ValidationError:
            continue
        assert model.model_validate_json(read.model_dump_json(by_alias=True)) == read


@given(st.ip_addresses() | st.integers(0, 2**32 - 1).map(lambda low: ipaddress.IPv6Address((0x64FF9B << 96) + low)))
@fuzz(300)
def test_every_address_is_judged_by_all_that_it_stands_for(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    assert strict(address) == all(strict(form) for form in forms(address))
    assert not Rules(deny=(ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0"))).permit(address)
    assert plain_address(str(address))


@given(TEXTS)
@fuzz(200)
def test_a_peer_that_is_no_address_is_none(text: str) -> None:
    assert plain_address(text) == "" or ipaddress.ip_address(plain_address(text))
