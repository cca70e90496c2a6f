"""What a namespace may spend on a lane in a period."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from laneway.api.base import Model, Time, int_or_string

SPEND_LIMIT = 64
"""Entries of one lane."""


class Period(StrEnum):
    """A period of the calendar, in UTC."""

    DAY = "Day"
    MONTH = "Month"


SpentText = Annotated[str, Field(pattern=r"^[0-9]{1,12}(\.[0-9]{1,6})?$", max_length=20)]


class Spend(Model):
    """A bound on what the runs of a namespace cost together."""

    namespace: str = Field(min_length=1, max_length=63, description="Name of a namespace that uses the lane.")
    period: Period = Field(description="Day or Month, in UTC.")
    limit_usd: str = Field(
        max_length=14,
        pattern=r"^[0-9]{1,7}(\.[0-9]{1,6})?$",
        coerce_numbers_to_str=True,
        json_schema_extra=int_or_string(maximum=9_999_999),
        description='US dollars, for example "50.00"; "0" for nothing.',
    )


class SpendStatus(Model):
    """What a namespace has spent in the current period."""

    namespace: str = Field(max_length=63, description="Name of the namespace.")
    period: Period = Field(description="Day or Month, in UTC.")
    used_usd: SpentText = Field(description="What its calls cost since the period began.")
    limit_usd: SpentText = Field(description="What it may spend.")
    reached: bool = Field(
        description="True: nothing is granted to its runs until the period ends or the limit is raised."
    )
    period_end_time: Time = Field(description="When the period ends.")
