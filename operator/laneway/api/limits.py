"""Limits of a run: what all its attempts together may use, and what follows when that is reached."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from laneway.api.base import Model, Rule, Time, int_or_string

TURNS_CAP = 1000
"""A run that sets no limit of turns stops here (S4.26)."""


class OnReached(StrEnum):
    """What follows when a limit is reached."""

    STOP = "Stop"
    FAIL = "Fail"
    PAUSE = "Pause"


class LimitName(StrEnum):
    """A limit, by the name of its field. The order is the one in which they are looked at."""

    COST = "costUSD"
    TOKENS = "tokens"
    TURNS = "turns"
    TIME = "activeSeconds"


LimitValue = Annotated[str, Field(pattern=r"^[0-9]{1,16}(\.[0-9]{1,6})?$", max_length=23)]
"""US dollars as a decimal, or a whole number."""


class Limits(Model):
    """What all attempts of a run together may use. What is absent is not limited, except turns."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.costUSD) || string(self.costUSD).matches('[1-9]')",
            "costUSD must be over 0; leave it out for no limit",
            field=".costUSD",
        ),
    )

    cost_usd: str | None = Field(
        default=None,
        max_length=14,
        pattern=r"^[0-9]{1,7}(\.[0-9]{1,6})?$",
        coerce_numbers_to_str=True,
        json_schema_extra=int_or_string(maximum=9_999_999),
        description='US dollars, for example "2.50". The run uses only models whose price is known.',
    )
    tokens: int | None = Field(
        default=None, ge=1, le=9_000_000_000_000_000, description="Input and output tokens, cached ones included."
    )
    turns: int = Field(default=TURNS_CAP, ge=1, le=1_000_000, description="Answered generation calls.")
    active_seconds: int | None = Field(
        default=None,
        ge=1,
        le=31_536_000,
        description="Seconds that its agents run. Waiting for a slot, a model or a person does not count.",
    )
    warn_percent: int = Field(
        default=80, ge=1, le=99, description="Of each limit: when that much is used, a warning is given once."
    )
    on_reached: OnReached = Field(
        default=OnReached.STOP,
        description="Stop: the run ends, done. Fail: it ends, failed. Pause: it waits, without pod and slot, for a higher limit.",
    )


class Warned(Model):
    """A limit that is nearly used up."""

    limit: LimitName = Field(description="Which limit.")
    value: LimitValue = Field(description="The limit when the warning was given; a higher one is warned of anew.")
    time: Time = Field(description="When.")
    message: str = Field(max_length=256, description="How much was used.")


class LimitReached(Model):
    """The limit for which a run waits."""

    limit: LimitName = Field(description="Which limit.")
    value: LimitValue = Field(description="What it was; the run goes on when it is raised or removed.")
    time: Time = Field(description="Since when the run waits.")
