"""Spans, dates and times behind flags."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from laneway.cli.spans import since_of
from support.builders import NOW, at


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        pytest.param("24h", at(-86_400), id="how long ago"),
        pytest.param("7d", at(-7 * 86_400), id="days ago"),
        pytest.param("2026-02-27", datetime(2026, 2, 27, tzinfo=UTC), id="a date begins in UTC"),
        pytest.param("2026-02-27T09:30:00Z", datetime(2026, 2, 27, 9, 30, tzinfo=UTC), id="a time"),
    ],
)
def test_since_is_a_span_a_date_or_a_time(text: str, moment: datetime) -> None:
    assert since_of(text, NOW) == moment


@pytest.mark.parametrize("text", ["yesterday", "0h", "-1d", "2026-13-01", "2026-02-27T09:30:00", "", "h"])
def test_anything_else_is_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(ValueError, match=r"write 24h, 2026-11-21|write 90s, 30m, 4h or 2d"):
        since_of(text, NOW)
