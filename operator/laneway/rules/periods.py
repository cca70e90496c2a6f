"""Periods of the calendar, in UTC. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from laneway.api.spend import Period


def start_of(period: Period, moment: datetime) -> datetime:
    """When the period that holds a moment began."""
    day = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return day if period is Period.DAY else day.replace(day=1)


def end_of(period: Period, moment: datetime) -> datetime:
    """When the period that holds a moment ends, and the next one begins."""
    start = start_of(period, moment)
    if period is Period.DAY:
        return start + timedelta(days=1)
    return (start + timedelta(days=32)).replace(day=1)
