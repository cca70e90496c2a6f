"""When a model may be used again, in every way in which servers say it; broken ways are no hint, and none is an error."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laneway.api.reasons import ResetSource
from laneway.rules.resets import Reset, Told, account_window, lower_names, reset_of, retry_after_seconds, unix_reset

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
UNIX = int(NOW.timestamp())


def wait(headers: dict[str, str] | None = None, *, body: Any = None, text: str = "") -> float | None:
    """Seconds from NOW until the reset."""
    found = reset_of(Told(headers=lower_names(headers or {}), body=body or {}, text=text), now=NOW)
    return (found.time - NOW).total_seconds() if found else None


@pytest.mark.row("C4")
@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        pytest.param(None, None, id="no header"),
        pytest.param("45", 45, id="seconds"),
        pytest.param(" 1.5 ", 1.5, id="a fraction of a second"),
        pytest.param("0", None, id="zero is no hint"),
        pytest.param("0.0", None, id="nor is zero with a point"),
        pytest.param("-3", None, id="a negative number is no hint"),
        pytest.param("soon", None, id="a word is no hint"),
        pytest.param("inf", None, id="infinity is no hint"),
        pytest.param("nan", None, id="what is no number is no hint"),
        pytest.param("9" * 400, None, id="a number that overflows is no hint"),
        pytest.param("99999999999", None, id="a wait of thousands of years is no hint"),
        pytest.param("²", None, id="a digit of another kind is no hint"),
        pytest.param("Sun, 01 Mar 2026 12:01:30 GMT", 90, id="a date"),
        pytest.param("Sun, 01 Mar 2026 11:59:00 GMT", None, id="a date in the past is no hint"),
        pytest.param("Sun, 01 Mar 2026 12:00:00 GMT", None, id="nor is now"),
        pytest.param("Sun, 01 Mar 2026 12:01:30 -0000", 90, id="a date without a zone is UTC"),
        pytest.param("Sun, 01 Mar 99999999999999999999 12:01:30 GMT", None, id="a year that overflows is no hint"),
        pytest.param("Sun, 99 Mar 2026 12:01:30 GMT", None, id="a day that no month has is no hint"),
    ],
)
def test_a_retry_after_header_is_read(header: str | None, seconds: float | None) -> None:
    assert retry_after_seconds(header, now=NOW) == seconds


def test_a_date_counts_from_the_time_that_is_given() -> None:
    header = "Sun, 01 Mar 2026 12:01:30 GMT"
    assert retry_after_seconds(header, now=NOW + timedelta(seconds=30)) == 60


@pytest.mark.row("C3", "C4")
@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        pytest.param({"Retry-After": "45"}, 45, id="Retry-After in seconds"),
        pytest.param({"retry-after": "86400"}, 86_400, id="a day: there is no ceiling here"),
        pytest.param({"RETRY-AFTER": "0.2"}, 1, id="at least a second"),
        pytest.param({"retry-after-ms": "2500", "retry-after": "9"}, 2.5, id="milliseconds come first"),
        pytest.param({"retry-after-ms": "0", "retry-after": "9"}, 9, id="milliseconds of zero say nothing"),
        pytest.param({"retry-after-ms": "x", "retry-after": "9"}, 9, id="nor do broken ones"),
        pytest.param(
            {"Retry-After": "Sun, 01 Mar 2026 12:01:30 GMT", "Date": "Sun, 01 Mar 2026 12:00:30 GMT"},
            60,
            id="a date counts from the server's own clock",
        ),
        pytest.param(
            {"Retry-After": "Sun, 01 Mar 2026 11:59:30 GMT", "Date": "Sun, 01 Mar 2026 11:58:30 GMT"},
            60,
            id="also when that clock is slow and the date is past by ours",
        ),
        pytest.param(
            {"Retry-After": "30", "Date": "Sun, 01 Mar 2026 11:00:00 GMT"}, 30, id="seconds need no clock at all"
        ),
        pytest.param(
            {"Retry-After": "Sun, 01 Mar 2026 12:01:30 GMT", "Date": "yesterday"}, 90, id="a Date that says nothing"
        ),
        pytest.param(
            {"Retry-After": "Sun, 01 Mar 2026 12:01:30 GMT", "Date": "Fri, 31 Dec 9999 23:59:59 GMT"},
            90,
            id="a Date that cannot be is not believed",
        ),
    ],
)
def test_headers(headers: dict[str, str], seconds: float) -> None:
    assert wait(headers) == seconds


@pytest.mark.row("S0.3")
@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Retry-After: 30", 30),
        ("retry_after: 7", 7),
        ("please retry after 12 seconds", 12),
        ("Retry-After: 86400s", 86_400),
        ("retry-after 1.5", 1),
        ("the model server answered 429; Retry-After: 45: slow down", 45),
        ("retry after 3, no, retry after 9", 3),
        ("Retry-After:0", None),
        ("retry_after=5", None),
        ('{"retry_after":5}', None),
        ("retryafter: 5", None),
        ("retry-after: -3", None),
        ("retry-after: Sun, 01 Mar 2026 12:01:30 GMT", None),
        ("retry after " + "9" * 5000, None),
    ],
    ids=lambda value: str(value)[:40],
)
def test_words(text: str, seconds: float | None) -> None:
    assert wait(text=text) == seconds


GOOGLE = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "51.8s"}


@pytest.mark.row("C4")
@pytest.mark.parametrize(
    ("body", "seconds"),
    [
        pytest.param({"retry_after": 5}, 5, id="retry_after beside the error"),
        pytest.param({"error": {"retry_after": 5.5}}, 5.5, id="retry_after inside the error"),
        pytest.param({"error": {"retry_after": "8"}}, 8, id="as text"),
        pytest.param({"retry_after": 0}, None, id="zero"),
        pytest.param({"retry_after": -3}, None, id="negative"),
        pytest.param({"retry_after": True}, None, id="a truth value is no number"),
        pytest.param({"retry_after": math.nan}, None, id="NaN"),
        pytest.param({"retry_after": math.inf}, None, id="infinity"),
        pytest.param({"retry_after": 10**400}, None, id="a number that overflows"),
        pytest.param({"error": {"resets_in_seconds": 3600}}, 3600, id="seconds until a plan's limit ends"),
        pytest.param({"error": {"details": [{"@type": "x"}, GOOGLE]}}, 51.8, id="Google's RetryInfo"),
        pytest.param({"error": {"details": [{**GOOGLE, "retryDelay": "0s"}]}}, None, id="RetryInfo of zero"),
        pytest.param({"error": {"details": [{**GOOGLE, "retryDelay": {}}]}}, None, id="RetryInfo of another shape"),
        pytest.param({"error": {"details": [{**GOOGLE, "@type": "x"}]}}, None, id="a delay of another type"),
        pytest.param({"error": {"details": "none"}}, None, id="details of another shape"),
        pytest.param({"error": "words"}, None, id="an error that is words"),
    ],
)
def test_bodies(body: dict[str, Any], seconds: float | None) -> None:
    assert wait(body=body) == seconds


@pytest.mark.row("S3.22", "C4")
@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        pytest.param(UNIX + 7200, 7200, id="unix seconds"),
        pytest.param(UNIX - 60, -60, id="one in the past stays as it is"),
        pytest.param(UNIX * 1000, None, id="milliseconds are no seconds"),
        pytest.param(-1, None, id="negative"),
        pytest.param("soon", None, id="a word"),
        pytest.param(None, None, id="nothing"),
    ],
)
def test_a_named_time(value: object, seconds: float | None) -> None:
    expected = None if seconds is None else Reset(NOW + timedelta(seconds=seconds), ResetSource.SERVER_EVENT)
    assert unix_reset(value) == expected
    assert reset_of(Told(headers={}, body={"error": {"resets_at": value}}), now=NOW) == expected


def test_a_named_time_is_corrected_by_the_servers_clock() -> None:
    headers = {"date": "Sun, 01 Mar 2026 11:58:30 GMT"}
    assert wait(headers, body={"resetsAt": UNIX}) == 90


@pytest.mark.row("C4")
@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        pytest.param(
            {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "6m0s"}, 360, id="OpenAI requests"
        ),
        pytest.param(
            {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "1h2m3.5s"}, 3723.5, id="OpenAI tokens"
        ),
        pytest.param(
            {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "12ms"}, 1, id="at least a second"
        ),
        pytest.param(
            {"x-ratelimit-remaining-requests": "1", "x-ratelimit-reset-requests": "6m0s"}, None, id="some room is left"
        ),
        pytest.param({"x-ratelimit-reset-requests": "6m0s"}, None, id="what is left is not said"),
        pytest.param(
            {
                "x-ratelimit-remaining-requests": "0",
                "x-ratelimit-reset-requests": "1s",
                "x-ratelimit-remaining-tokens": "0",
                "x-ratelimit-reset-tokens": "20s",
            },
            20,
            id="both are used up: the later",
        ),
        pytest.param(
            {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "59"}, 59, id="Azure writes plain seconds"
        ),
        pytest.param(
            {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "-1"}, None, id="Azure writes -1"
        ),
        pytest.param(
            {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "0"}, None, id="Azure writes zero"
        ),
        pytest.param(
            {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "6m0s", "retry-after": "7"},
            7,
            id="Retry-After wins: the window need not be full",
        ),
        pytest.param(
            {
                "anthropic-ratelimit-input-tokens-remaining": "0",
                "anthropic-ratelimit-input-tokens-reset": "2026-03-01T12:00:40Z",
                "anthropic-ratelimit-requests-remaining": "49",
                "anthropic-ratelimit-requests-reset": "2026-03-01T13:00:00Z",
            },
            40,
            id="Anthropic, the kind that is used up",
        ),
        pytest.param(
            {
                "anthropic-ratelimit-tokens-remaining": "0",
                "anthropic-ratelimit-tokens-reset": "2026-03-01T12:00:40Z",
                "date": "Sun, 01 Mar 2026 12:00:30 GMT",
            },
            10,
            id="Anthropic, by its own clock",
        ),
        pytest.param(
            {
                "anthropic-ratelimit-tokens-remaining": "0",
                "anthropic-ratelimit-tokens-reset": "2026-03-01T11:59:40Z",
            },
            None,
            id="Anthropic, in the past",
        ),
        pytest.param(
            {"anthropic-ratelimit-tokens-remaining": "0", "anthropic-ratelimit-tokens-reset": "soon"},
            None,
            id="Anthropic, no time",
        ),
    ],
)
def test_windows_that_are_used_up(headers: dict[str, str], seconds: float | None) -> None:
    assert wait(headers) == seconds


@pytest.mark.row("C4")
def test_the_header_comes_first_then_the_words_then_the_body() -> None:
    body = {"retry_after": 3, "resets_at": UNIX + 4}
    assert wait({"retry-after": "1"}, body=body, text="retry after 2") == 1
    assert wait(body=body, text="retry after 2") == 2
    assert wait(body=body) == 3
    assert wait(body={"resets_at": UNIX + 4}) == 4


def test_the_later_of_the_accounts_windows_holds() -> None:
    prefix = "anthropic-ratelimit-unified"
    headers = {
        f"{prefix}-5h-status": "rejected",
        f"{prefix}-5h-reset": str(UNIX + 60),
        f"{prefix}-7d-status": "rejected",
        f"{prefix}-7d-reset": str(UNIX + 600),
    }
    found = Reset(NOW + timedelta(seconds=600), ResetSource.SERVER_EVENT)
    assert account_window(Told(headers=headers, body={}), now=NOW) == (True, found)


NAMES = st.sampled_from(
    [
        "Retry-After",
        "retry-after-ms",
        "Date",
        "x-ratelimit-remaining-tokens",
        "x-ratelimit-reset-tokens",
        "anthropic-ratelimit-tokens-remaining",
        "anthropic-ratelimit-tokens-reset",
        "anthropic-ratelimit-unified-5h-status",
        "anthropic-ratelimit-unified-5h-reset",
    ]
)
VALUES = (
    st.text(max_size=40)
    | st.integers().map(str)
    | st.floats().map(str)
    | st.sampled_from(["0", "rejected", "6m0s", "9" * 15 + "h"])
    | st.datetimes().map(lambda moment: moment.strftime("%a, %d %b %Y %H:%M:%S GMT"))
    | st.datetimes().map(lambda moment: moment.isoformat() + "Z")
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | VALUES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["error", "details", "@type", "retryDelay", "retry_after", "resets_at", "resets_in_seconds"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@pytest.mark.row("C4")
@given(
    headers=st.dictionaries(NAMES, VALUES),
    body=st.dictionaries(st.sampled_from(["error", "retry_after", "resets_at"]), JSON),
    text=st.text() | VALUES.map(lambda value: f"retry after {value}"),
    now=st.integers(0, 60_000).map(lambda days: NOW + timedelta(days=days, microseconds=days)),
)
def test_nothing_that_a_server_says_is_an_error_and_the_same_is_read_the_same(
    headers: dict[str, str], body: dict[str, Any], text: str, now: datetime
) -> None:
    told = Told(headers=lower_names(headers), body=body, text=text)
    found = reset_of(told, now=now)
    assert found == reset_of(told, now=now)
    account_window(told, now=now)
    if found is not None:
        found.time + timedelta(days=365)  # no overflow where a wait is worked out
        assert found.source is not ResetSource.RETRY_AFTER or found.time >= now + timedelta(seconds=1)
