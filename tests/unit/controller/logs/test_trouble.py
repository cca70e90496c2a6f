"""Model trouble as the logs of agents on Direct lanes tell it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laneway.agent.envelope import EnvelopeSummary, RateLimitEvent, parse
from laneway.api.gatewaystate import CallFailure
from laneway.api.reasons import Cause, ResetSource
from laneway.controller.logs.trouble import trouble_of
from support.builders import NOW, at

UNIX = int(NOW.timestamp())


def trouble(*lines: object) -> CallFailure | None:
    """Of a log whose agent began at second 2 and ended at second 10."""
    text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    return trouble_of(parse(text), sent=at(2), seen=at(10))


def result(status: int | None = None, text: str = "it failed", **fields: Any) -> dict[str, Any]:
    return {"type": "result", "is_error": True, "api_error_status": status, "result": text, **fields}


def limit(
    status: str = "rejected", kind: str | None = "five_hour", resets_at: int | None = UNIX + 9000
) -> dict[str, Any]:
    info = {"status": status, "rateLimitType": kind, "resetsAt": resets_at}
    return {"type": "rate_limit_event", "rate_limit_info": info}


@pytest.mark.row("S3.3")
def test_an_overload_in_the_words_of_the_fixture() -> None:
    found = trouble('{"type":"result","is_error":true,"api_error_status":529,"result":"Overloaded"}')
    assert found == CallFailure(
        sent_time=at(2), seen_time=at(10), cause=Cause.API_TRANSIENT, status=529, message="Overloaded"
    )


@pytest.mark.row("S3.1", "S3.2", "S3.4", "S3.5", "S3.6")
@pytest.mark.parametrize(
    ("lines", "cause"),
    [
        pytest.param([limit(), result(429)], Cause.RATE_LIMIT_ACCOUNT, id="a five-hour reject beats the status"),
        pytest.param([limit()], Cause.RATE_LIMIT_ACCOUNT, id="a five-hour reject and no result"),
        pytest.param([limit(kind=None), result(429)], Cause.RATE_LIMIT_MODEL, id="a reject without a type"),
        pytest.param([limit(kind="seven_day"), result(429)], Cause.RATE_LIMIT_MODEL, id="a reject of another type"),
        pytest.param([limit(kind="seven_day")], None, id="a reject of another type and no result"),
        pytest.param([limit(), limit("allowed"), result(429)], Cause.RATE_LIMIT_MODEL, id="a reject that was lifted"),
        pytest.param(
            [limit("allowed"), limit(), limit(kind=None), result(429)], Cause.RATE_LIMIT_ACCOUNT, id="one of many"
        ),
        pytest.param([result(429)], Cause.RATE_LIMIT_MODEL, id="429"),
        *(pytest.param([result(code)], Cause.API_TRANSIENT, id=f"{code}") for code in (500, 502, 503, 504, 529)),
        pytest.param([result(408)], Cause.API_TIMEOUT, id="408"),
        *(
            pytest.param([result(code)], None, id=f"{code} is no trouble")
            for code in (400, 401, 403, 404, 422, 501, 505)
        ),
        pytest.param([result(402)], Cause.QUOTA_EXHAUSTED, id="402"),
        pytest.param([result(None)], None, id="an error without a status"),
        pytest.param(
            [result(None, "API Error: Overloaded")], Cause.RATE_LIMIT_MODEL, id="an error whose words are clear"
        ),
        pytest.param([result(None, "model used 14290 tokens")], None, id="a number that contains 429"),
        pytest.param([result(429, is_error=False)], None, id="no error, whatever the status"),
        pytest.param([limit(), result(None, is_error=False)], None, id="no error, whatever was met on the way"),
        pytest.param(["Too Many Requests", "rate_limit_error"], None, id="words that stand outside the envelope"),
        pytest.param([], None, id="an empty log"),
    ],
)
def test_the_priority_of_signals(lines: list[object], cause: Cause | None) -> None:
    found = trouble(*lines)
    assert (found and found.cause) == cause


@pytest.mark.row("S3.9")
@pytest.mark.parametrize(
    ("error", "cause"),
    [
        pytest.param({"code": 429, "message": "slow down"}, Cause.RATE_LIMIT_MODEL, id="429"),
        *(
            pytest.param({"code": code, "message": "m"}, Cause.API_TRANSIENT, id=f"{code}")
            for code in (500, 502, 503, 504, 529)
        ),
        pytest.param({"code": 408, "message": "late"}, Cause.API_TIMEOUT, id="408"),
        pytest.param({"code": 403, "message": "no"}, None, id="403 is no trouble"),
        pytest.param({"code": 41, "message": "bad key"}, None, id="an exit code is no status"),
        pytest.param(
            {"code": 429, "type": "TerminalQuotaError"}, Cause.QUOTA_EXHAUSTED, id="quota by the error's type"
        ),
        pytest.param({"code": 429, "type": "RetryableQuotaError"}, Cause.RATE_LIMIT_MODEL, id="quota of a minute"),
        pytest.param("429", None, id="an error of another shape"),
    ],
)
def test_a_second_kind_of_agent_names_the_code_inside_its_error(error: object, cause: Cause | None) -> None:
    found = trouble({"type": "init"}, {"type": "result", "status": "error", "error": error, "stats": {}})
    assert (found and found.cause) == cause


@pytest.mark.row("S3.7")
def test_garbage_around_the_result_does_not_hide_it_and_its_words_are_cut() -> None:
    found = trouble("npm warn", "{", '{"type":"result"', result(503, "x" * 5000), "bye", "[1]")
    assert found is not None
    assert (found.cause, found.message) == (Cause.API_TRANSIENT, "x" * 200)


@pytest.mark.row("S3.7")
def test_the_end_of_the_log_alone_is_read() -> None:
    assert trouble(result(503), *({"type": "user", "n": n} for n in range(50))) is None
    assert trouble(result(503), *({"type": "user", "n": n} for n in range(49))) is not None


@pytest.mark.row("S0.10", "S3.11", "S3.12")
@pytest.mark.parametrize(
    ("lines", "seconds", "source"),
    [
        pytest.param([limit()], 9000, ResetSource.SERVER_EVENT, id="the event's time as it is"),
        pytest.param([limit(resets_at=UNIX - 5)], -5, ResetSource.SERVER_EVENT, id="also one in the past"),
        pytest.param([limit(resets_at=None)], None, None, id="an event without its time"),
        pytest.param(
            [result(429, "the model server answered 429; Retry-After: 45")],
            10 + 45,
            ResetSource.RETRY_AFTER,
            id="a header that survived in the words, from when it was seen",
        ),
        pytest.param([result(429)], None, None, id="no hint"),
    ],
)
def test_the_servers_time(lines: list[object], seconds: float | None, source: ResetSource | None) -> None:
    found = trouble(*lines)
    assert found is not None
    assert (found.reset_time, found.reset_source) == (None if seconds is None else at(seconds), source)


@pytest.mark.row("B6", "B8")
@given(
    st.builds(
        EnvelopeSummary,
        finished=st.booleans(),
        is_error=st.none() | st.booleans(),
        api_error_status=st.none() | st.integers(min_value=0),
        raw_error=st.none() | st.text(),
        error_type=st.none() | st.text(),
        rate_limits=st.lists(
            st.builds(
                RateLimitEvent,
                status=st.sampled_from([None, "rejected"]),
                limit_type=st.sampled_from([None, "five_hour"]),
                resets_at=st.none() | st.integers(min_value=0),
            )
        ).map(tuple),
    )
)
def test_no_log_makes_the_judgement_fail(envelope: EnvelopeSummary) -> None:
    found = trouble_of(envelope, sent=at(2), seen=at(10))
    assert found is None or found.status is None or 100 <= found.status <= 599
