"""Periods of the calendar."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from laneway.api.spend import Period
from laneway.rules.periods import end_of, start_of


def utc(*numbers: int) -> datetime:
    return datetime(*numbers, tzinfo=UTC)  # type: ignore[arg-type,misc]


@pytest.mark.parametrize(
    ("period", "moment", "start", "end"),
    [
        pytest.param(Period.DAY, utc(2026, 3, 1, 12, 30), utc(2026, 3, 1), utc(2026, 3, 2), id="a day"),
        pytest.param(Period.DAY, utc(2026, 3, 1), utc(2026, 3, 1), utc(2026, 3, 2), id="the first moment of a day"),
        pytest.param(Period.MONTH, utc(2026, 2, 28, 23, 59), utc(2026, 2, 1), utc(2026, 3, 1), id="a short month"),
        pytest.param(Period.MONTH, utc(2026, 12, 31), utc(2026, 12, 1), utc(2027, 1, 1), id="the end of a year"),
        pytest.param(
            Period.DAY,
            datetime(2026, 3, 1, 1, tzinfo=timezone(timedelta(hours=2))),
            utc(2026, 2, 28),
            utc(2026, 3, 1),
            id="another time zone",
        ),
    ],
)
def test_a_period_begins_and_ends_in_utc(period: Period, moment: datetime, start: datetime, end: datetime) -> None:
    assert (start_of(period, moment), end_of(period, moment)) == (start, end)
