"""Whether the ledger and the gateway's state are what the clients saw. Pure: it is given all three."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bench.figures import Figure, at_most
from soak.sights import CallId, End, Sight, in_flight

ROW = "soak"
_OPEN, _LOST = "open", "lost"
_NEVER = frozenset({End.HUNG, End.BROKEN})


@dataclass(frozen=True)
class Row:
    """What the ledger says of one try."""

    run_uid: str
    attempt: int
    state: str
    turn: bool
    metered: bool
    input_tokens: int | None
    output_tokens: int | None
    cost_micro_usd: int | None


@dataclass(frozen=True)
class Sums:
    """What one attempt used."""

    calls: int = 0
    turns: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    unmetered_calls: int = 0
    cost_micro_usd: int = 0

    def plus(self, row: Row) -> Sums:
        """With one try more."""
        return Sums(
            self.calls + 1,
            self.turns + row.turn,
            self.input_tokens + (row.input_tokens or 0),
            self.output_tokens + (row.output_tokens or 0),
            self.unmetered_calls + (not row.metered),
            self.cost_micro_usd + (row.cost_micro_usd or 0),
        )


AttemptKey = tuple[str, int]


@dataclass(frozen=True)
class Rest:
    """What the gateway holds once no client calls any more."""

    open_calls: float
    waiting_calls: float
    places_held: float
    waiting_writes: float
    reserved_micro_usd: int


def figures(
    sights: Sequence[Sight],
    kills: Sequence[float],
    rows: Sequence[Row],
    told: Mapping[AttemptKey, Sums],
    rest: Rest,
    *,
    errors: int,
) -> tuple[Figure, ...]:
    """Every oracle, each a number with its bound. ``errors``: lines in the gateway's log."""
    met = in_flight(sights, kills)
    turns = Counter(CallId(row.run_uid, row.input_tokens or 0) for row in rows if row.turn and row.metered)
    answered = [one for one in sights if one.end is End.ANSWERED]
    missing = {one.call for one in answered if not turns[one.call]}
    excused = missing & {one.call for one in met}
    swallowed = sum(one.end is not End.ANSWERED or one.call in excused for one in met)
    lost = [row for row in rows if row.state == _LOST]
    ends = Counter(one.end for one in sights)
    return (
        *(_shown(f"calls that clients saw {end.value}", ends[end]) for end in End if end not in _NEVER),
        _bounded("calls that nothing ended for a minute", ends[End.HUNG]),
        _bounded("calls refused with a 500 of the gateway's own, or in no words of the API", ends[End.BROKEN]),
        _bounded("errors in the gateway's log", errors),
        _shown("rows in the ledger", len(rows)),
        _bounded("numbers that clients gave twice", len(sights) - len({one.call for one in sights})),
        _bounded("answered calls without a settled row, no kill near", len(missing - excused)),
        _bounded("answered calls without a settled row, at a kill", len(excused), _lost_of(lost, excused)),
        _bounded("calls in the ledger twice", sum(count - 1 for count in turns.values() if count > 1)),
        _bounded("answers in the ledger that no client asked for", len(set(turns) - {one.call for one in sights})),
        _bounded("answers without a number, more than clients of their run left", _nameless(rows, sights)),
        _bounded("rows lost at kills (bound: calls in flight then, not answered)", len(lost), swallowed),
        _bounded("lost rows without a charge", sum(row.cost_micro_usd is None for row in lost)),
        _bounded("rows still open", sum(row.state == _OPEN for row in rows)),
        _bounded("attempts whose state is not the ledger's sum", len(differing(rows, told))),
        _bounded("open calls at the end", rest.open_calls),
        _bounded("waiting calls at the end", rest.waiting_calls),
        _bounded("places held at the end", rest.places_held),
        _bounded("rows not written at the end", rest.waiting_writes),
        _bounded("micro-dollars reserved at the end", rest.reserved_micro_usd),
    )


def differing(rows: Iterable[Row], told: Mapping[AttemptKey, Sums]) -> set[AttemptKey]:
    """The attempts of which the state says something else than the ledger, or only one of them knows."""
    sums: defaultdict[AttemptKey, Sums] = defaultdict(Sums)
    for row in rows:
        if row.state != _OPEN:
            sums[row.run_uid, row.attempt] = sums[row.run_uid, row.attempt].plus(row)
    return {key for key in {*sums, *told} if sums.get(key) != told.get(key)}


def _lost_of(lost: Iterable[Row], excused: Iterable[CallId]) -> int:
    """Of calls that a kill swallowed, as many as their own runs have lost rows."""
    rows = Counter(row.run_uid for row in lost)
    calls = Counter(call.run_uid for call in excused)
    return sum((calls & rows).values())


def _nameless(rows: Iterable[Row], sights: Iterable[Sight]) -> int:
    """Answers whose usage never came, so that their rows have an estimate: only a client that leaves before it makes one."""
    found = Counter(row.run_uid for row in rows if row.turn and not row.metered)
    left = Counter(one.call.run_uid for one in sights if one.end is End.LEFT)
    return (found - left).total()


def _shown(what: str, value: float) -> Figure:
    return Figure(ROW, what, "", (float(value),))


def _bounded(what: str, value: float, bound: float = 0) -> Figure:
    return Figure(ROW, what, "", (float(value),), at_most(bound, counted=True))
