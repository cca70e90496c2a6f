"""What a refusal of a model server means: structure first, words last."""

from __future__ import annotations

import pytest

from laneway.api.reasons import Cause
from laneway.rules.classify import ErrorInfo, classify

Q, M, T, L = Cause.QUOTA_EXHAUSTED, Cause.RATE_LIMIT_MODEL, Cause.API_TRANSIENT, Cause.API_TIMEOUT


@pytest.mark.row("C2", "S1.6")
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
        *((status, Cause.UNKNOWN) for status in (501, 505, 511)),
    ],
)
def test_a_status_alone(status: int, cause: Cause) -> None:
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


@pytest.mark.row("C1", "S0.1", "B3")
@pytest.mark.parametrize(
    ("text", "limited"),
    [
        ("Too Many Requests", True),
        ("HTTP 429", True),
        ("Overloaded", True),
        ("overloaded_error", True),
        ("rate_limit_error", True),
        ("Rate-Limit exceeded", True),
        ("rate limit", True),
        ("ratelimit", True),
        ("HTTP 529", True),
        ("HTTP 503 service unavailable", False),
        ("took 1429 ms", False),
        ("accelerate limits", False),
    ],
)
def test_words_decide_only_where_there_is_nothing_else(text: str, limited: bool) -> None:
    assert (classify(None, ErrorInfo(message=text)) is M) is limited
    assert classify(500, ErrorInfo(message=text)) is T
