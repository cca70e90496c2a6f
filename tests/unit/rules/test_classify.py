"""What a refusal of a model server means, and when the model may be used again: structure first, words last."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laneway.api.reasons import Cause, ResetSource
from laneway.rules.classify import ErrorInfo, LimitEvent, Signals, Verdict, classify, judge

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
UNIX = int(NOW.timestamp())

Q, M, T, L = Cause.QUOTA_EXHAUSTED, Cause.RATE_LIMIT_MODEL, Cause.API_TRANSIENT, Cause.API_TIMEOUT


@pytest.mark.row("C2", "S1.6", "S2.34", "S2.35", "S3.1", "S3.2", "B4", "B6")
@pytest.mark.parametrize(
    ("status", "cause"),
    [
        (429, M),
        *((status, T) for status in (500, 502, 503, 504, 529)),
        (408, L),
        (401, Cause.AUTH_FAILED),
        (403, Cause.AUTH_FAILED),
        (402, Q),
        (405, Cause.WIRE_API_UNSUPPORTED),
        (413, Cause.CONTEXT_TOO_LONG),
        *((status, Cause.TASK_FAILURE) for status in (400, 409, 422, 451, 499)),
        *((status, Cause.UNKNOWN) for status in (501, 505, 511, 599, 302)),
        *((status, Cause.TASK_FAILURE) for status in (None, 0, 42, 1000)),
    ],
)
def test_a_status_alone(status: int | None, cause: Cause) -> None:
    assert classify(status, ErrorInfo()) is cause


@pytest.mark.row("C1", "S1.15")
@pytest.mark.parametrize(
    ("status", "error", "cause"),
    [
        (429, ErrorInfo(type="budget_exceeded", message="budget exceeded"), Q),
        (429, ErrorInfo(type="insufficient_quota"), Q),
        (429, ErrorInfo(code="project_spend_limit_exceeded"), Q),
        (429, ErrorInfo(code="credit_balance_exhausted"), Q),
        (400, ErrorInfo(type="billing_error"), Q),
        (400, ErrorInfo(type="invalid_request_error", message="You have reached your specified API usage limits."), Q),
        (429, ErrorInfo(type="tokens", code="rate_limit_exceeded"), M),
        (503, ErrorInfo(code="slow_down"), T),
        (
            404,
            ErrorInfo(type="NotFoundError", code="404", message="The model `nope` does not exist."),
            Cause.MODEL_NOT_FOUND,
        ),
        (404, ErrorInfo(message="Not Found"), Cause.WIRE_API_UNSUPPORTED),
        (400, ErrorInfo(message="This model's maximum context length is 8192 tokens."), Cause.CONTEXT_TOO_LONG),
        (400, ErrorInfo(message="the input length exceeds the context length"), Cause.CONTEXT_TOO_LONG),
        (400, ErrorInfo(code="context_length_exceeded"), Cause.CONTEXT_TOO_LONG),
        (400, ErrorInfo(message="rate limit in a prompt that a server quotes"), Cause.TASK_FAILURE),
        (400, ErrorInfo(message="bad input: 'you exceeded your current quota'"), Cause.TASK_FAILURE),
        (400, ErrorInfo(message="Your credit balance is too low to access the API."), Q),
        (400, ErrorInfo(type="api_error", message="the model does not support tools"), Cause.TASK_FAILURE),
        (402, ErrorInfo(), Q),
        (404, ErrorInfo(code="model_not_found"), Cause.MODEL_NOT_FOUND),
        (404, ErrorInfo(type="NOT_FOUND", message="models/x is not found for API version v1"), Cause.MODEL_NOT_FOUND),
        (429, ErrorInfo(type="TerminalQuotaError"), Q),
        (429, ErrorInfo(type="RetryableQuotaError"), M),
        (429, ErrorInfo(type="RESOURCE_EXHAUSTED", message="Quota exceeded for quota metric"), M),
        (500, ErrorInfo(type="invalid_request_error", message="rate limit"), T),
        (None, ErrorInfo(code="insufficient_quota"), Q),
        (None, ErrorInfo(code="429"), M),
        (None, ErrorInfo(code="0429"), Cause.TASK_FAILURE),
        (None, ErrorInfo(message="prompt is too long: 210000 tokens"), Cause.CONTEXT_TOO_LONG),
        (None, ErrorInfo(code="503", message="busy"), T),
        (None, ErrorInfo(type="overloaded_error"), M),
        (None, ErrorInfo(type="rate_limit_error"), M),
        (None, ErrorInfo(type="api_error"), T),
        (None, ErrorInfo(type="timeout_error"), L),
        (None, ErrorInfo(message="something else"), Cause.TASK_FAILURE),
    ],
    ids=lambda value: f"{value.type}/{value.code}/{value.message}" if isinstance(value, ErrorInfo) else str(value),
)
def test_an_error_with_its_body(status: int | None, error: ErrorInfo, cause: Cause) -> None:
    assert classify(status, error) is cause


@pytest.mark.row("C1", "S0.1", "S0.2", "B2", "B3", "B4")
@pytest.mark.parametrize(
    ("text", "limited"),
    [
        ("Too Many Requests", True),
        ("HTTP 429", True),
        ("HTTP/1.1 429: slow down", True),
        ("(429)", True),
        ("Overloaded", True),
        ("overloaded_error", True),
        ("rate_limit_error", True),
        ("Rate-Limit exceeded", True),
        ("rate limit", True),
        ("ratelimit", True),
        ("HTTP 529", True),
        ("HTTP 503 service unavailable", False),
        ("took 1429 ms", False),
        ("model used 14290 tokens", False),
        ("1,429 tokens", False),
        ("429.5 ms", False),
        ("429,000 tokens", False),
        ("commit a429 and 429f", False),
        ("accelerate limits", False),
        ("the list was reloaded", False),
    ],
)
def test_words_decide_only_where_there_is_nothing_else(text: str, *, limited: bool) -> None:
    assert (classify(None, ErrorInfo(message=text)) is M) is limited
    assert classify(500, ErrorInfo(message=text)) is T


def verdict(
    cause: Cause, seconds: float | None = None, source: ResetSource | None = None, status: Any = 429
) -> Verdict:
    return Verdict(cause, None if seconds is None else NOW + timedelta(seconds=seconds), source, status)


A = Cause.RATE_LIMIT_ACCOUNT
EVENT, AFTER = ResetSource.SERVER_EVENT, ResetSource.RETRY_AFTER


@pytest.mark.row("S3.4", "S3.5", "S3.11", "S3.22", "C1")
@pytest.mark.parametrize(
    ("event", "expected"),
    [
        pytest.param(
            LimitEvent("rejected", "five_hour", UNIX + 9000), verdict(A, 9000, EVENT), id="a five-hour reject beats 429"
        ),
        pytest.param(
            LimitEvent("rejected", "five_hour", UNIX - 60), verdict(A, -60, EVENT), id="a reset in the past stays"
        ),
        pytest.param(LimitEvent("rejected", "five_hour"), verdict(A), id="a five-hour reject without its time"),
        pytest.param(LimitEvent("rejected", "five_hour", 10**30), verdict(A), id="a time that no clock can hold"),
        pytest.param(LimitEvent("rejected", None, UNIX + 9000), verdict(M), id="a reject without a type"),
        pytest.param(LimitEvent("rejected", "seven_day_opus", UNIX + 9000), verdict(M), id="a reject of another type"),
        pytest.param(LimitEvent("allowed", "five_hour", UNIX + 9000), verdict(M), id="no reject"),
        pytest.param(None, verdict(M), id="no event"),
    ],
)
def test_the_event_comes_first(event: LimitEvent | None, expected: Verdict) -> None:
    assert judge(Signals(status=429, event=event), now=NOW) == expected


UNIFIED = {
    "Anthropic-RateLimit-Unified-Status": "rejected",
    "Anthropic-RateLimit-Unified-5h-Status": "rejected",
    "Anthropic-RateLimit-Unified-5h-Reset": str(UNIX + 2094),
    "Anthropic-RateLimit-Unified-7d-Status": "allowed",
    "Retry-After": "30",
}
PLAN = {"error": {"type": "usage_limit_reached", "resets_at": UNIX + 600}}


def google(quota: str) -> dict[str, Any]:
    failure = {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": quota}]}
    hint = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "51.8s"}
    return {"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "details": [failure, hint]}}


@pytest.mark.row("C3", "C4", "S0.10")
@pytest.mark.parametrize(
    ("signals", "expected"),
    [
        pytest.param(
            Signals(429, headers={"Retry-After": "45"}), verdict(M, 45, AFTER), id="a header and no body at all"
        ),
        pytest.param(
            Signals(503, headers={"Retry-After": "45"}), verdict(T, 45, AFTER, 503), id="a server error with a hint"
        ),
        pytest.param(
            Signals(400, headers={"Retry-After": "45"}),
            verdict(Cause.TASK_FAILURE, status=400),
            id="a bad request gets no better by waiting",
        ),
        pytest.param(
            Signals(429, ErrorInfo(type="insufficient_quota"), {"Retry-After": "45"}),
            verdict(Q),
            id="exhausted quota is no short limit",
        ),
        pytest.param(
            Signals(429, ErrorInfo(type="insufficient_quota", body=PLAN)),
            verdict(Q, 600, EVENT),
            id="unless the server names the time",
        ),
        pytest.param(
            Signals(429, headers=UNIFIED),
            verdict(A, 2094, EVENT),
            id="a window of the whole account is used up, whatever Retry-After says",
        ),
        pytest.param(
            Signals(429, headers={**UNIFIED, "Anthropic-RateLimit-Unified-5h-Status": "allowed"}),
            verdict(M, 30, AFTER),
            id="a window of one model only",
        ),
        pytest.param(
            Signals(429, headers={**UNIFIED, "Anthropic-RateLimit-Unified-5h-Reset": ""}),
            verdict(A, 30, AFTER),
            id="the account's window does not say when",
        ),
        pytest.param(Signals(529, headers=UNIFIED), verdict(T, 30, AFTER, 529), id="an overload is no limit"),
        pytest.param(
            Signals(429, ErrorInfo(type="usage_limit_reached", body=PLAN)),
            verdict(A, 600, EVENT),
            id="the limit of a plan is the account's",
        ),
        pytest.param(
            Signals(429, ErrorInfo(body=google("GenerateRequestsPerMinutePerProjectPerModel"))),
            verdict(M, 51.8, AFTER),
            id="Google's quota of a minute",
        ),
        pytest.param(
            Signals(429, ErrorInfo(body=google("GenerateRequestsPerDayPerProject"))),
            verdict(Q),
            id="Google's quota of a day is no short limit",
        ),
        pytest.param(
            Signals(429, ErrorInfo(body=google("GenerateRequestsPerDayPerProjectPerModel-FreeTier"))),
            verdict(M),
            id="nor is its quota of a day for one model",
        ),
        pytest.param(
            Signals(None, ErrorInfo(code="503", message="busy, retry after 7")),
            verdict(T, 7, AFTER, 503),
            id="an error inside a stream is judged by its code",
        ),
    ],
)
def test_the_servers_time_goes_with_the_class(signals: Signals, expected: Verdict) -> None:
    assert judge(signals, now=NOW) == expected


WORDS = st.text(max_size=30) | st.sampled_from(
    [
        "insufficient_quota",
        "rate_limit_error",
        "overloaded",
        "429",
        "529",
        "usage_limit_reached",
        "model",
        "retry after 5",
    ]
)
ERRORS = st.builds(
    ErrorInfo,
    type=WORDS,
    code=WORDS,
    message=WORDS | st.text(),
    body=st.dictionaries(
        st.sampled_from(["error", "details", "retry_after"]),
        st.none()
        | st.integers()
        | st.floats()
        | WORDS
        | st.sampled_from([google("PerDay")["error"], {"details": [1]}]),
    ),
)
SIGNALS = st.builds(
    Signals,
    status=st.none() | st.integers() | st.integers(400, 599),
    error=ERRORS,
    headers=st.dictionaries(st.sampled_from(list(UNIFIED)), WORDS | st.integers().map(str)),
    event=st.none()
    | st.builds(
        LimitEvent,
        status=st.sampled_from([None, "rejected"]),
        limit_type=st.sampled_from([None, "five_hour"]),
        resets_at=st.none() | st.integers(),
    ),
)


@pytest.mark.row("B6", "B8")
@given(SIGNALS)
def test_nothing_makes_the_judgement_fail_and_the_same_is_judged_the_same(signals: Signals) -> None:
    found = judge(signals, now=NOW)
    assert found == judge(signals, now=NOW)
    assert (found.reset_time is None) == (found.reset_source is None)
    if found.cause is A:
        assert (
            signals.event
            or "Anthropic-RateLimit-Unified-5h-Status" in signals.headers
            or signals.error.type
            or signals.error.code
        )


@pytest.mark.row("B8")
def test_a_failure_of_which_nothing_is_known_is_no_rate_limit() -> None:
    assert judge(Signals(), now=NOW) == verdict(Cause.TASK_FAILURE, status=None)
    assert judge(Signals(status=599), now=NOW) == verdict(Cause.UNKNOWN, status=599)
