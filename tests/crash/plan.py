"""Which trials there are: the operator killed after each write, in two ways, every kind of fault at every write, and the gateway gone after each write."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from crash.away import GatewayAway, Killed, LedgerGone, Stopped
from crash.kinds import BROKEN, CONFLICT, TOO_MANY, Counted, Expired, Kill, Lost, Refused, Rival, StaleLists, Watches
from crash.metered import metered
from crash.scene import direct
from crash.trial import Scenario, Trial

_APART = 9
"""Every ninth write is hit in one trial, and nine trials hit them all: what failed is tried again after 5 s, and a trial must not take minutes."""
_SEEDS = 4
_AWAYS: tuple[tuple[str, type[GatewayAway]], ...] = (
    ("gateway stopped for a while", Stopped),
    ("gateway killed, back after a while", Killed),
    ("gateway killed, its ledger gone", LedgerGone),
)
_LONGEST_AWAY = 6.0
"""Seconds: several polls of the operator, and its tries to close an attempt."""
_KILLED_EVERY = 6
"""The kills themselves are no others than without the gateway; here they show that calls are counted once."""


@dataclass(frozen=True)
class Planned:
    """One trial to come."""

    kind: str
    """What is done to it, as the table says it."""
    faults: Callable[[Trial], Counted]
    scenario: Scenario = direct


def plan(writes: int, metered_writes: int, seed: int) -> list[Planned]:
    """All trials of scenarios of so many writes: without the gateway, and behind it. The seed draws how the gateway goes, and for how long."""
    without = [*_kills(writes), *_refusals(writes), *_watches(), *_old_lists(writes), *_rivals(writes)]
    return [*without, *_gateway_away(metered_writes, random.Random(seed)), *_metered_kills(metered_writes)]


def _kills(writes: int) -> Iterator[Planned]:
    for lost, words in ((False, "killed after a write"), (True, "killed after a write, its answer lost")):
        for number in range(1, writes + 1):
            yield Planned(words, lambda made, number=number, lost=lost: Kill(made, number, lost=lost))


def _refusals(writes: int) -> Iterator[Planned]:
    for first in range(1, _APART + 1):
        numbers = range(first, writes + 1, _APART)
        for answer in (CONFLICT, TOO_MANY, BROKEN):
            words = f"a write answered {answer.code}"
            yield Planned(words, lambda made, numbers=numbers, answer=answer: Refused(numbers, answer))
        yield Planned("a write done, its answer lost", lambda made, numbers=numbers: Lost(numbers))


def _watches() -> Iterator[Planned]:
    for seed in range(_SEEDS):
        yield Planned("watches cut, events dropped and told later", lambda made, seed=seed: Watches(seed, cut=0.3))
        yield Planned("events late", lambda made, seed=seed: Watches(seed, late=0.5))
        yield Planned("events told again, older ones after newer", lambda made, seed=seed: Watches(seed, again=0.5))
    yield Planned("410 in every watch", lambda made: Expired())


def _old_lists(writes: int) -> Iterator[Planned]:
    for age in (4, 12, 24):
        for number in range(age + 1, writes, 8):
            yield Planned(
                "killed, old lists for the next one",
                lambda made, number=number, age=age: StaleLists(made, number, age=age),
            )


def _rivals(writes: int) -> Iterator[Planned]:
    for number in range(2, writes, 6):
        yield Planned(
            "a second leader for as long as the first may write", lambda made, number=number: Rival(made, number)
        )


def _gateway_away(writes: int, drawn: random.Random) -> Iterator[Planned]:
    """After each write, in one of the ways; of three writes in a row each is met in another."""
    for first in range(1, writes + 1, len(_AWAYS)):
        numbers = range(first, min(first + len(_AWAYS), writes + 1))
        for number, (words, kind) in zip(numbers, drawn.sample(_AWAYS, len(_AWAYS)), strict=False):
            seconds = drawn.uniform(0, _LONGEST_AWAY)
            yield Planned(
                words,
                lambda made, kind=kind, number=number, seconds=seconds: kind(made, number, seconds=seconds),
                metered,
            )


def _metered_kills(writes: int) -> Iterator[Planned]:
    for number in range(2, writes + 1, _KILLED_EVERY):
        lost = number % (2 * _KILLED_EVERY) == 2
        yield Planned(
            "killed after a write, calls through the gateway",
            lambda made, number=number, lost=lost: Kill(made, number, lost=lost),
            metered,
        )
