"""A figure is one number measured in several rounds, with the target that it has to meet. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, linear_regression


@dataclass(frozen=True)
class Target:
    """What the mean of a figure must be."""

    limit: float
    at_least: bool = False
    """The mean must reach the limit; else it must not pass it."""
    counted: bool = False
    """It is about something that is counted, which a busy machine does not change."""
    compared: bool = False
    """It sets sides against each other that took turns: a busy machine flatters as easily as it spoils, so that even a met one says nothing there."""

    def met(self, value: float) -> bool:
        """Whether a mean is good enough."""
        return value >= self.limit if self.at_least else value <= self.limit

    @property
    def words(self) -> str:
        """The target for people."""
        return f"{'>=' if self.at_least else '<='} {self.limit:g}"


def at_least(limit: float, *, compared: bool = False) -> Target:
    """A target that the mean must reach."""
    return Target(limit, at_least=True, compared=compared)


def at_most(limit: float, *, counted: bool = False, compared: bool = False) -> Target:
    """A target that the mean must not pass."""
    return Target(limit, counted=counted, compared=compared)


@dataclass(frozen=True)
class Figure:
    """One number. Mean and spread are over rounds."""

    row: str
    """The benchmark: P1, P2 and so on."""
    what: str
    unit: str
    rounds: tuple[float, ...]
    target: Target | None = None
    """None: shown for understanding, not judged."""

    @property
    def mean(self) -> float:
        """The mean of the rounds."""
        return fmean(self.rounds)

    @property
    def met(self) -> bool | None:
        """Whether the mean meets the target; None without one."""
        return self.target.met(self.mean) if self.target else None


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that so many percent of the values do not pass (nearest rank). Raises ValueError without values."""
    if not values:
        raise ValueError("there is no percentile of nothing")
    rank = math.ceil(percent / 100 * len(values))
    return sorted(values)[max(rank, 1) - 1]


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, ...]:
    """Ours over theirs, round by round: what two sides have in common in a round cancels out."""
    return tuple(mine / other for mine, other in zip(ours, theirs, strict=True))


def differences(ours: Sequence[float], base: Sequence[float]) -> tuple[float, ...]:
    """What ours is more than the base, round by round."""
    return tuple(mine - other for mine, other in zip(ours, base, strict=True))


def growth(points: Sequence[tuple[float, float]]) -> float:
    """The slope of the straight line that fits the points best. Raises ValueError without two different places."""
    return linear_regression([place for place, _ in points], [value for _, value in points]).slope
