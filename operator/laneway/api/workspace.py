"""``agent.workspace``: a folder of a run that outlives its pods."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from laneway.api.base import Model, Rule, int_or_string


class Workspace(Model):
    """A PersistentVolumeClaim of the run, mounted as the agent's workspace in every attempt. It goes with the run."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule("string(self.size).matches('[1-9]')", "size must be over 0, for example 10Gi", field=".size"),
    )

    size: str = Field(
        max_length=32,
        pattern=r"^[0-9]+(\.[0-9]+)?(k|Ki|M|Mi|G|Gi|T|Ti)?$",
        coerce_numbers_to_str=True,
        json_schema_extra=int_or_string(maximum=9_000_000_000_000_000),
        description="How much is asked for, in bytes or with a unit, for example 10Gi.",
    )
    storage_class_name: str | None = Field(
        default=None,
        min_length=1,
        max_length=253,
        pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$",
        description="Storage class. Default: the cluster's.",
    )
