"""Spans and times as people write them behind a flag. Pure. Everything here raises ValueError with a sentence."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_UNITS = {"s": timedelta(seconds=1), "m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}


def span_of(text: str) -> timedelta:
    """A span such as 90s, 30m, 4h or 2d."""
    number, unit = text[:-1], text[-1:]
    if not (number.isascii() and number.isdigit() and unit in _UNITS and int(number) > 0):
        raise ValueError(f"{text!r} is no span; write 90s, 30m, 4h or 2d")
    return int(number) * _UNITS[unit]


def moment_of(text: str) -> datetime:
    """A time with its zone."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is no time; write 2026-11-21T09:30:00Z") from error
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone; write 2026-11-21T09:30:00Z")
    return moment


def since_of(text: str, now: datetime) -> datetime:
    """When something began that is said by how long ago it was, by a date, which begins in UTC, or by a time."""
    if text[-1:] in _UNITS:
        return now - span_of(text)
    try:
        day = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        pass
    else:
        return day
    try:
        return moment_of(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is no span, date or time; write 24h, 2026-11-21 or 2026-11-21T09:30:00Z") from error
