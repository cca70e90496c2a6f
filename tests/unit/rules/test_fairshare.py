"""Fair shares: the order of a queue as if slots were dealt one after another."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laneway.rules.fairshare import Caller, Shares, Turn, fair_order, turn

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
NOBODY = Shares(running={}, served={}, weights={})


@dataclass(frozen=True)
class Waiter:
    """A run that waits."""

    uid: str
    caller: Caller
    priority: int
    created: datetime
    name: str

    @property
    def turn(self) -> Turn:
        return turn(self.priority, self.created, self.name)


def at(seconds: int) -> datetime:
    return NOW + timedelta(seconds=seconds)


def who(text: str) -> Caller:
    """``a/ci`` is caller ci of namespace a, ``a`` the one without a name."""
    namespace, _, name = text.partition("/")
    return Caller(namespace, name)


def run(caller: str, name: str, *, priority: int = 0, created: int = 0) -> Waiter:
    return Waiter(uid=f"{caller}:{name}", caller=who(caller), priority=priority, created=at(created), name=name)


def runs(caller: str, count: int) -> list[Waiter]:
    return [run(caller, f"{caller[-1]}{n}", created=n) for n in range(count)]


def shares(
    running: Mapping[str, int] | None = None,
    served: Mapping[str, int] | None = None,
    weights: Mapping[str, int] | None = None,
) -> Shares:
    return Shares(
        running={who(caller): count for caller, count in (running or {}).items()},
        served={who(caller): at(seconds) for caller, seconds in (served or {}).items()},
        weights=weights or {},
    )


@dataclass(frozen=True)
class Case:
    waiting: list[Waiter]
    order: str
    """Names, in the order in which slots go to them."""
    shares: Shares = field(default=NOBODY)


ORDERS = {
    "of one caller the oldest goes first": Case([run("a", "x", created=2), run("a", "y", created=1)], "y x"),
    "of one age the name decides": Case([run("a", "y"), run("a", "x")], "x y"),
    "inside a caller a higher priority goes first": Case(
        [run("a", "old"), run("a", "hot", priority=10, created=9), run("a", "cold", priority=-1)], "hot old cold"
    ),
    "callers take turns, whoever came first": Case([*runs("a/u", 3), *runs("a/v", 2)], "u0 v0 u1 v1 u2"),
    "priority never beats another caller": Case(
        [run("a/u", "u", priority=1000), run("a/u", "u2", priority=1000), run("a/v", "v")], "u v u2"
    ),
    "who has fewer running goes first": Case(
        [*runs("a/u", 1), *runs("a/v", 2)], "v0 u0 v1", shares(running={"a/u": 1})
    ),
    "between equals goes who was served longest ago": Case(
        [*runs("a/u", 1), *runs("a/v", 1)], "v0 u0", shares(served={"a/u": 5, "a/v": 4})
    ),
    "who was never served goes before who was": Case(
        [*runs("a/u", 1), *runs("a/v", 1)], "v0 u0", shares(served={"a/u": 5})
    ),
    "runs without a caller share one bucket": Case([*runs("a", 2), *runs("a/u", 1)], "a0 u0 a1"),
    "a namespace gains nothing by inventing callers": Case(
        [run("a/u", "u"), run("a/v", "v"), run("a/w", "w"), *runs("b", 3)], "u b0 v b1 w b2"
    ),
    "a namespace of weight 2 gets two slots for one": Case(
        [*runs("a", 5), *runs("b", 3)], "a0 b0 a1 b1 a2 a3 b2 a4", shares(weights={"a": 2})
    ),
    "what a namespace has running counts, whichever of its callers has it": Case(
        [*runs("a/u", 1), *runs("b/v", 2)], "v0 v1 u0", shares(running={"a/w": 2}, served={"b/v": 1, "a/w": 2})
    ),
    "between equal namespaces goes the one that was served longest ago": Case(
        [*runs("a/u", 1), *runs("b/v", 1)], "v0 u0", shares(served={"a/w": 2, "b/v": 1})
    ),
    "a name is a caller of its own in each namespace": Case(
        [run("a/u", "a1"), run("b/u", "b1")], "b1 a1", shares(running={"a/u": 1})
    ),
    "nobody waits": Case([], ""),
}


@pytest.mark.row("S2.5", "S2.6", "S2.7", "C8", "S4.40")
@pytest.mark.parametrize("case", ORDERS.values(), ids=ORDERS.keys())
def test_slots_go_to(case: Case) -> None:
    assert " ".join(waiter.name for waiter in fair_order(case.waiting, case.shares)) == case.order


@pytest.mark.row("S2.5")
def test_one_run_behind_a_heavy_user_is_next_but_one() -> None:
    """Cap 1: a's first run has the slot; b's one run goes before a's other nine."""
    order = fair_order([*runs("x/a", 9), run("x/b", "b", created=100)], shares({"x/a": 1}, {"x/a": 0}))
    assert order[0].name == "b"


# ---- properties

CALLERS = [who(text) for text in ("a", "a/u", "a/v", "b", "b/u", "c/w")]


@st.composite
def queues(draw: st.DrawFn, callers: tuple[Caller, ...] = tuple(CALLERS)) -> tuple[list[Waiter], Shares]:
    """Any queue, with any slots in use and any past."""
    waiting = [
        Waiter(
            uid=str(number),
            caller=draw(st.sampled_from(callers)),
            priority=draw(st.integers(-1, 1)),
            created=at(draw(st.integers(0, 3))),
            name=f"run{number}",
        )
        for number in range(draw(st.integers(0, 15)))
    ]
    return waiting, Shares(
        running=draw(st.dictionaries(st.sampled_from(callers), st.integers(0, 4))),
        served=draw(st.dictionaries(st.sampled_from(callers), st.integers(0, 3).map(at))),
        weights=draw(st.dictionaries(st.sampled_from("abc"), st.integers(1, 4))),
    )


def one_by_one(waiting: list[Waiter], given_: Shares) -> list[Waiter]:
    """The rule as it is written, one slot at a time, in the slow way."""
    left, order = list(waiting), []
    running, served = Counter(given_.running), dict(given_.served)
    while left:

        def rank(run: Waiter) -> tuple[object, ...]:
            where = run.caller.namespace
            in_namespace = sum(count for caller, count in running.items() if caller.namespace == where)
            last = max((moment for caller, moment in served.items() if caller.namespace == where), default=at(-9))
            return (
                Fraction(in_namespace, given_.weights.get(where, 1)),
                last,
                where,
                running[run.caller],
                served.get(run.caller, at(-9)),
                run.caller.name,
                -run.priority,
                run.created,
                run.name,
            )

        run = min(left, key=rank)
        left.remove(run)
        order.append(run)
        running[run.caller] += 1
        served[run.caller] = at(1000 + len(order))
    return order


@pytest.mark.row("C8")
@given(queues())
def test_the_order_is_that_of_slots_dealt_one_by_one(queue: tuple[list[Waiter], Shares]) -> None:
    assert fair_order(*queue) == one_by_one(*queue)


@pytest.mark.row("C8")
@given(queues(callers=(who("a"), who("a/u"), who("a/v"))), st.integers(1, 9))
def test_with_one_namespace_it_is_the_rule_of_callers_alone(queue: tuple[list[Waiter], Shares], weight: int) -> None:
    """Fewest running, served longest ago, name; inside the caller priority, creation, name. No weight changes it."""
    waiting, given_ = queue
    left, expected = list(waiting), []
    running, served = Counter(given_.running), dict(given_.served)
    while left:
        callers = {run.caller for run in left}
        caller = min(callers, key=lambda one: (running[one], served.get(one, at(-9)), one.name))
        mine = (run for run in left if run.caller == caller)
        run = min(mine, key=lambda one: (-one.priority, one.created, one.name))
        left.remove(run)
        expected.append(run)
        running[caller] += 1
        served[caller] = at(1000 + len(expected))
    assert fair_order(waiting, replace(given_, weights={"a": weight})) == expected


@given(queues(), st.randoms(use_true_random=False))
def test_the_order_of_events_changes_nothing(queue: tuple[list[Waiter], Shares], random: object) -> None:
    waiting, given_ = queue
    turned = list(waiting)
    random.shuffle(turned)  # type: ignore[attr-defined]
    backwards = replace(given_, running=dict(reversed(given_.running.items())))
    assert fair_order(turned, backwards) == fair_order(waiting, given_)


@pytest.mark.row("S2.7")
@given(queues(), st.lists(st.integers(-9, 9), min_size=15, max_size=15))
def test_priority_never_beats_another_caller(queue: tuple[list[Waiter], Shares], priorities: list[int]) -> None:
    waiting, given_ = queue
    changed = [replace(run, priority=priorities[number]) for number, run in enumerate(waiting)]
    turns = [run.caller for run in fair_order(waiting, given_)]
    assert [run.caller for run in fair_order(changed, given_)] == turns


@given(queues())
def test_everybody_has_one_place(queue: tuple[list[Waiter], Shares]) -> None:
    waiting, given_ = queue
    assert sorted(run.uid for run in fair_order(waiting, given_)) == sorted(run.uid for run in waiting)


@pytest.mark.row("S2.5")
@given(st.dictionaries(st.sampled_from("abcd"), st.integers(1, 5), min_size=2), st.integers(1, 3))
def test_while_all_have_backlog_shares_differ_by_at_most_one_run_per_weight(
    weights: dict[str, int], callers: int
) -> None:
    backlog = [run for where in weights for n in range(callers) for run in runs(f"{where}/{n}", 12)]
    left, dealt = Counter(run.caller for run in backlog), Counter[Caller]()
    for run in fair_order(backlog, Shares(running={}, served={}, weights=weights)):
        dealt[run.caller] += 1
        left[run.caller] -= 1
        if not all(left.values()):
            break
        share = {
            where: Fraction(sum(dealt[who(f"{where}/{n}")] for n in range(callers)), weight)
            for where, weight in weights.items()
        }
        most = max(share, key=lambda where: share[where])
        assert share[most] - min(share.values()) <= Fraction(1, weights[most])
        for where in weights:
            mine = [dealt[who(f"{where}/{n}")] for n in range(callers)]
            assert max(mine) - min(mine) <= 1


@dataclass
class Lane:
    """A lane whose backlog never ends: every caller always has runs waiting. Slots come free in any order, none later than ``patience`` grants."""

    slots: int
    callers: list[Caller]
    weights: Mapping[str, int]
    patience: int
    running: list[tuple[int, Caller]] = field(default_factory=list)
    served: dict[Caller, datetime] = field(default_factory=dict)
    grants: int = 0

    def grant(self, ends: int, extra: list[Waiter]) -> Waiter:
        """End a run if the lane is full, and give its slot to the next."""
        if len(self.running) >= self.slots:
            late = [n for n, (since, _) in enumerate(self.running) if self.grants - since >= self.patience]
            self.running.pop(late[0] if late else ends % len(self.running))
        self.grants += 1
        backlog = [Waiter(f"{caller}", caller, 100, at(-5), "endless") for caller in self.callers]
        known = Shares(Counter(caller for _, caller in self.running), self.served, self.weights)
        run = fair_order([*backlog, *extra], known)[0]
        self.running.append((self.grants, run.caller))
        self.served[run.caller] = at(self.grants)
        return run


@pytest.mark.row("S2.5")
@given(
    st.sets(st.sampled_from(CALLERS[1:]), min_size=1),
    st.integers(1, 4),
    st.dictionaries(st.sampled_from("abc"), st.integers(1, 5)),
    st.integers(0, 20),
    st.lists(st.integers(0, 9), min_size=200, max_size=200),
)
def test_nobody_starves_behind_an_endless_backlog_of_others(
    others: set[Caller], slots: int, weights: dict[str, int], before: int, ends: list[int]
) -> None:
    """A run that comes at any time, of the lowest priority and the youngest, gets a slot within a bounded number of grants."""
    patience = 8
    lane = Lane(slots, sorted(others), weights, patience)
    for number in range(before):
        lane.grant(ends[number], [])
    late = Waiter("late", who("a"), -100, at(10**6), "late")
    bound = (patience + slots + len(others)) * (len(others) + 1)
    granted = (lane.grant(ends[before + number], [late]) for number in range(min(bound, len(ends) - before)))
    assert late in granted


@pytest.mark.row("S2.5")
def test_ten_thousand_runs_of_a_thousand_callers_are_ordered_at_once() -> None:
    waiting = [run(f"n{n % 100}/c{n % 1000}", f"r{n}", created=n % 7, priority=n % 3) for n in range(10_000)]
    began = time.process_time()
    assert len(fair_order(waiting, shares(weights={f"n{n}": 1 + n % 5 for n in range(100)}))) == 10_000
    assert time.process_time() - began < 2
