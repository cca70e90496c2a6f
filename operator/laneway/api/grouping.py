"""What usage is summed by, in the gateway and on the command line."""

from __future__ import annotations

from enum import StrEnum


class GroupBy(StrEnum):
    """What usage is summed by."""

    RUN = "run"
    LANE = "lane"
    MODEL = "model"
    NAMESPACE = "namespace"
    DAY = "day"
    CALLER = "caller"
