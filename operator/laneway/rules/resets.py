"""When a model may be used again, as its server says: in headers, in a JSON body, in words (C4, S0.3). Nothing here raises.

Seconds count from ``now``. Absolute times are of the server's clock: they are moved by as much as the answer's ``Date`` differs from
``now``. Zero, the negative, the past, and numbers that no clock can hold are no hint; less than a second is a second; there is no ceiling.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from laneway.api.reasons import ResetSource

_LONGEST_SECONDS = 100 * 366 * 86_400
"""A longer wait is a broken number, and would not fit a time."""
_LAST_UNIX = 10**11
_SHORTEST_SECONDS = 1.0
_MILLISECONDS = 1000

_NUMBER = re.compile(r"[0-9]{1,15}(?:\.[0-9]*)?|\.[0-9]+")
_DURATION = re.compile(r"(?:[0-9]{1,15}(?:\.[0-9]+)?(?:h|ms|m|s|us|µs|ns))+")
_DURATION_PART = re.compile(r"([0-9.]+)([a-zµ]+)")
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_IN_WORDS = re.compile(r"retry[-_ ]after[:\s]+([0-9]{1,15})(?![0-9])", re.IGNORECASE)

_OPENAI_KINDS = ("requests", "tokens")
_ANTHROPIC_KINDS = ("requests", "tokens", "input-tokens", "output-tokens")
_ACCOUNT_WINDOWS = ("5h", "7d")

Json = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Reset:
    """A time that the server named, and how."""

    time: datetime
    source: ResetSource


@dataclass(frozen=True, slots=True)
class Told:
    """The parts of an answer in which a time may stand."""

    headers: Mapping[str, str]
    """Names in lower case."""
    body: Json
    text: str = ""
    """The error's words."""


def lower_names(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers by name in lower case; of several with one name the first."""
    lowered: dict[str, str] = {}
    for name, value in headers.items():
        lowered.setdefault(name.lower(), value)
    return lowered


def reset_of(told: Told, *, now: datetime) -> Reset | None:
    """When the model may be used again.

    In this order: ``retry-after-ms`` and ``Retry-After``; seconds in the words; seconds in the body (``retry_after``, ``resets_in_seconds``,
    Google's RetryInfo); a time in the body (``resets_at``); and last the headers that only say when a used-up window is full again.
    """
    server_now = _server_clock(told.headers, now)
    seconds = (
        _seconds_in_headers(told.headers, server_now)
        or _seconds_in_words(told.text)
        or _first(_seconds_in(part) for part in _parts(told.body))
    )
    if seconds is None and (named := named_time(told, now=now)):
        return named
    seconds = seconds or _full_again(told.headers, server_now)
    return None if seconds is None else Reset(_later(now, seconds), ResetSource.RETRY_AFTER)


def named_time(told: Told, *, now: datetime) -> Reset | None:
    """The unix time in a body (``resets_at`` or ``resetsAt``). One in the past stays as it is (S3.22)."""
    ahead = now - _server_clock(told.headers, now)
    times = [unix_reset(part.get(key), ahead=ahead) for part in _parts(told.body) for key in ("resets_at", "resetsAt")]
    return next((one for one in times if one is not None), None)


def account_window(told: Told, *, now: datetime) -> tuple[bool, Reset | None]:
    """Whether Anthropic's headers say that a window of the whole account is used up, and when the last of those windows begins anew.

    Every model of a subscription draws on the five-hour and on the seven-day window; windows of one model have other names.
    """
    prefix = "anthropic-ratelimit-unified"
    ahead = now - _server_clock(told.headers, now)
    used = [name for name in _ACCOUNT_WINDOWS if told.headers.get(f"{prefix}-{name}-status") == "rejected"]
    ends = [unix_reset(_number(told.headers.get(f"{prefix}-{name}-reset", "")), ahead=ahead) for name in used]
    return bool(used), max((end for end in ends if end is not None), key=lambda end: end.time, default=None)


def unix_reset(value: object, *, ahead: timedelta = timedelta(0)) -> Reset | None:
    """A time that the server named in unix seconds; ``ahead`` is how far our clock is before the server's."""
    seconds = _plain_number(value)
    if seconds is None or not 0 < seconds < _LAST_UNIX:
        return None
    return Reset(datetime.fromtimestamp(seconds, UTC) + ahead, ResetSource.SERVER_EVENT)


def retry_after_seconds(header: str | None, *, now: datetime) -> float | None:
    """A ``Retry-After`` header in seconds from ``now``: a number, whole or not, or an HTTP date."""
    text = (header or "").strip()
    seconds = _number(text)
    if seconds is None and (moment := _http_date(text)):
        seconds = (moment - now).total_seconds()
    return _hint(seconds)


# Seconds, part by part


def _seconds_in_headers(headers: Mapping[str, str], server_now: datetime) -> float | None:
    milliseconds = _number(headers.get("retry-after-ms", "").strip())
    if milliseconds:
        return _hint(milliseconds / _MILLISECONDS)
    return retry_after_seconds(headers.get("retry-after"), now=server_now)


def _seconds_in_words(text: str) -> float | None:
    """S0.3: whole seconds, at the first place that matches."""
    found = _IN_WORDS.search(text)
    return _hint(float(found[1])) if found else None


def _seconds_in(part: Json) -> float | None:
    for key in ("retry_after", "resets_in_seconds"):
        if (seconds := _hint(_seconds_of(part.get(key)))) is not None:
            return seconds
    return _first(_hint(_seconds_of(detail.get("retryDelay"))) for detail in details(part, "google.rpc.RetryInfo"))


def _full_again(headers: Mapping[str, str], server_now: datetime) -> float | None:
    """The longest wait until a used-up window is full, longer than until it has some room; -1 and 0 mean that it is not known."""
    waits = [
        _seconds_of(headers.get(f"x-ratelimit-reset-{kind}", "").strip())
        for kind in _OPENAI_KINDS
        if headers.get(f"x-ratelimit-remaining-{kind}", "").strip() == "0"
    ]
    ends = [
        _rfc3339(headers.get(f"anthropic-ratelimit-{kind}-reset", "").strip())
        for kind in _ANTHROPIC_KINDS
        if headers.get(f"anthropic-ratelimit-{kind}-remaining", "").strip() == "0"
    ]
    waits += [(end - server_now).total_seconds() for end in ends if end is not None]
    return max((wait for wait in map(_hint, waits) if wait is not None), default=None)


# Reading


def details(part: Json, kind: str) -> Iterator[Json]:
    """Google's ``details[]`` of one type."""
    listed = part.get("details")
    for detail in listed if isinstance(listed, list) else ():
        if isinstance(detail, Mapping) and str(detail.get("@type", "")).endswith(kind):
            yield detail


def _parts(body: Json) -> Iterator[Json]:
    """The error object of a body, and the body itself."""
    error = body.get("error")
    if isinstance(error, Mapping):
        yield error
    yield body


def _first(values: Iterable[float | None]) -> float | None:
    return next((value for value in values if value is not None), None)


def _hint(seconds: float | None) -> float | None:
    return seconds if seconds is not None and 0 < seconds <= _LONGEST_SECONDS else None


def _later(now: datetime, seconds: float) -> datetime:
    return now + timedelta(seconds=max(seconds, _SHORTEST_SECONDS))


def _seconds_of(value: object) -> float | None:
    """A number, a number as text, or a duration as Go writes it (``6m0s``)."""
    if not isinstance(value, str):
        return _plain_number(value)
    if _DURATION.fullmatch(value):
        return sum(float(number) * _UNITS[unit] for number, unit in _DURATION_PART.findall(value))
    return _number(value)


def _plain_number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return None


def _number(text: str) -> float | None:
    return float(text) if _NUMBER.fullmatch(text) else None


def _server_clock(headers: Mapping[str, str], now: datetime) -> datetime:
    told = _http_date(headers.get("date", ""))
    return told if told is not None and abs((told - now).total_seconds()) < _LONGEST_SECONDS else now


def _http_date(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return moment.replace(tzinfo=moment.tzinfo or UTC)


def _rfc3339(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.replace(tzinfo=moment.tzinfo or UTC)
