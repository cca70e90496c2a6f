"""How often an agent is run: again after it has failed at its task, and again after a round that went well."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

from pydantic import Field

from laneway.api.base import Model, Rule


class RetryPolicy(StrEnum):
    """What follows an attempt whose agent failed at its task."""

    NONE = "None"
    SAME = "Same"


class RunRetry(Model):
    """What is tried again."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "(self.policy == 'None') == (self.maxRetries == 0)",
            "policy Same goes with maxRetries of 1 or more, policy None with none",
        ),
    )

    policy: RetryPolicy = Field(
        default=RetryPolicy.NONE,
        description="What follows an attempt whose agent failed at its task. None: the run ends."
        " Same: the agent is run again, on the same step and workspace.",
    )
    max_retries: int = Field(
        default=0,
        ge=0,
        le=1000,
        description="How often the run tries a failed task again, over all its rounds. The first wait is 30 s; each doubles, up to 10 minutes.",
    )
    max_disruptions: int = Field(
        default=10,
        ge=0,
        le=1000,
        description="Attempts that the cluster broke (a lost pod, an eviction, a gateway restart) and that are begun again; at most 3 in 30 minutes.",
    )


class Rounds(Model):
    """Rounds of the agent. Each is an attempt that ended well."""

    max: int = Field(
        default=1,
        ge=1,
        le=1000,
        description="The most rounds. The run ends with the last one, or when its agent says that it is done; both are a success.",
    )
    delay_seconds: int = Field(default=3, ge=0, le=86400, description="From the end of a round to the next.")
