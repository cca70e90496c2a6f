"""How chains are put together, and which step is taken: tables, and what holds for any chain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laneway.api.reasons import Cause
from laneway.api.runstatus import CHAIN_LIMIT
from laneway.api.steps import Step
from laneway.rules.chain import (
    TRANSIENT_CAUSES,
    Chain,
    Key,
    LaneSteps,
    Link,
    Shut,
    admits,
    expand,
    from_top,
    least_busy,
    lists_full,
    reached,
    walk,
)

LIMITED = Shut(Cause.RATE_LIMIT_MODEL)
REFUSED = Shut(Cause.AUTH_FAILED)


def step(lane: str, model: str | None = None, **changes: Any) -> Step:
    return Step(lane=lane, model=model, **changes)


def lanes(**fallbacks: list[Step]) -> dict[Key, LaneSteps]:
    """Lanes of namespace n, each with model ``m`` first, and their fallbacks."""
    return {("n", name): LaneSteps("m", tuple(steps)) for name, steps in fallbacks.items()}


def names(chain: Chain) -> list[str]:
    return [f"{link.namespace}/{link.lane}/{link.model}" for link in chain.links]


def expanded(models: list[Step], known: Mapping[Key, LaneSteps]) -> Chain:
    return expand(models, namespace="n", lane_of=known.get)


def links(count: int, **causes: tuple[Cause, ...]) -> tuple[Link, ...]:
    """Steps a, b, c ... and the causes of some."""
    letters = "abcdefgh"[:count]
    return tuple(Link("n", letter, "m", causes.get(letter, ())) for letter in letters)


@pytest.mark.row("S2.28", "S2.29", "S2.30", "C23")
@pytest.mark.parametrize(
    ("models", "known", "expected"),
    [
        pytest.param([step("a")], lanes(a=[]), ["n/a/m"], id="a step without a model has its lane's first"),
        pytest.param(
            [step("a", "qwen3:30b"), step("a", "org/model:tag")],
            lanes(a=[]),
            ["n/a/qwen3:30b", "n/a/org/model:tag"],
            id="model names are kept verbatim, and two of one lane are two steps",
        ),
        pytest.param([step("x")], {}, ["n/x/None"], id="a lane that is not there keeps its place"),
        pytest.param(
            [step("x"), step("b"), step("y")],
            lanes(x=[], y=[], b=[step("z"), step("x")], z=[]),
            ["n/x/m", "n/b/m", "n/z/m", "n/y/m"],
            id="a lane's fallback stands behind its step, and what was there before is not repeated",
        ),
        pytest.param(
            [step("a", causes=(Cause.FULL,)), step("a")],
            lanes(a=[]),
            ["n/a/m"],
            id="of equal steps the first is kept",
        ),
        pytest.param(
            [step("a")],
            lanes(a=[step("b")], b=[step("c")], c=[]),
            ["n/a/m", "n/b/m", "n/c/m"],
            id="fallbacks of fallbacks are in the chain",
        ),
        pytest.param(
            [step("a"), step("c")],
            lanes(a=[step("b")], b=[step("c")], c=[]),
            ["n/a/m", "n/b/m", "n/c/m"],
            id="a step that a fallback named first stands where the fallback put it",
        ),
    ],
)
def test_expansion(models: list[Step], known: Mapping[Key, LaneSteps], expected: list[str]) -> None:
    chain = expanded(models, known)
    assert names(chain) == expected
    assert (chain.cycles, chain.shortened) == ((), False)


def test_a_step_without_a_namespace_means_that_of_the_object_it_is_written_in() -> None:
    known = {("models", "a"): LaneSteps("m", (step("b"), step("c", namespace="third")))}
    chain = expanded([step("a", namespace="models"), step("own")], known)
    assert [link.key for link in chain.links] == [("models", "a"), ("models", "b"), ("third", "c"), ("n", "own")]


@pytest.mark.row("S2.30", "C23")
def test_a_cycle_is_cut_and_named() -> None:
    chain = expanded([step("a")], lanes(a=[step("b")], b=[step("a"), step("a", "other")]))
    assert names(chain) == ["n/a/m", "n/b/m", "n/a/other"]
    assert chain.cycles == (("n", "a"),)


def test_two_ways_to_one_lane_are_no_cycle() -> None:
    known = lanes(a=[step("b"), step("c")], b=[step("d")], c=[step("d")], d=[step("e")], e=[])
    assert expanded([step("a")], known).cycles == ()


@pytest.mark.row("C23")
def test_fallbacks_are_followed_eight_deep() -> None:
    known = lanes(**{f"l{n}": [step(f"l{n + 1}")] for n in range(20)})
    chain = expanded([step("l0")], known)
    assert len(chain.links) == 9
    assert chain.shortened


def test_a_chain_has_an_end() -> None:
    known = lanes(**{f"l{n}": [step(f"l{n + 1}", f"m{m}") for m in range(16)] for n in range(8)})
    chain = expanded([step("l0")], known)
    assert len(chain.links) == CHAIN_LIMIT
    assert chain.shortened


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        pytest.param(("n", "a", "m"), 0, id="by its model"),
        pytest.param(("n", "b", None), 1, id="without a model the first of its lane"),
        pytest.param(("n", "b", "other"), None, id="another model"),
        pytest.param(("x", "a", "m"), None, id="another namespace"),
    ],
)
def test_where_a_step_stands(where: tuple[str, str, str | None], expected: int | None) -> None:
    assert Chain(links(3)).index(*where) == expected


def test_a_step_whose_lane_is_gone_and_that_names_no_model_stands_for_any_but_not_before_one_that_names_it() -> None:
    chain = Chain((Link("n", "a", None), Link("n", "a", "m")))
    assert (chain.index("n", "a", "m"), chain.index("n", "a", "other"), chain.index("n", "b", "m")) == (1, 0, None)


@pytest.mark.row("S2.33", "S2.34", "C10", "C22")
@pytest.mark.parametrize(
    ("causes", "shut", "expected"),
    [
        *(pytest.param((), Shut(cause), True, id=f"{cause} leads on") for cause in sorted(TRANSIENT_CAUSES)),
        pytest.param((), Shut(Cause.MODEL_NOT_FOUND), True, id="a model that is not there leads on"),
        pytest.param((), Shut(Cause.WIRE_API_UNSUPPORTED), True, id="another protocol leads on"),
        pytest.param((), Shut(Cause.UNSUITABLE), True, id="a request that only this model refuses leads on"),
        pytest.param((), Shut(Cause.MANUAL), True, id="a model held by hand leads on"),
        pytest.param((), Shut(Cause.AUTH_FAILED), False, id="a refused key does not"),
        pytest.param((), Shut(Cause.AUTH_FAILED, advances=True), True, id="a refused key does by the lane's switch"),
        pytest.param((), Shut(Cause.CONTEXT_TOO_LONG), False, id="a request too long does not"),
        pytest.param((), Shut(Cause.CONTEXT_TOO_LONG, advances=True), True, id="a request too long does by the switch"),
        pytest.param((), Shut(Cause.TASK_FAILURE, advances=True), False, id="a bad request does not, switch or no"),
        pytest.param((), Shut(Cause.FULL), False, id="a full lane does not unless it is listed"),
        pytest.param((Cause.FULL,), Shut(Cause.FULL), True, id="a full lane does where it is listed"),
        pytest.param((Cause.AUTH_FAILED,), REFUSED, True, id="a refused key does where it is listed"),
        pytest.param((Cause.API_TIMEOUT,), LIMITED, False, id="a list excludes what it does not name"),
        pytest.param((Cause.API_TIMEOUT,), Shut(Cause.AUTH_FAILED, advances=True), False, id="from the switch too"),
        pytest.param((), Shut(None), False, id="nobody passes a lane of which nothing is known yet"),
    ],
)
def test_what_a_step_admits(causes: tuple[Cause, ...], shut: Shut, *, expected: bool) -> None:
    assert admits(Link("n", "a", "m", causes), shut) is expected


@pytest.mark.row("S4.2", "S2.32", "S2.33", "S2.34", "B20")
@pytest.mark.parametrize(
    ("chain", "shut", "failed", "because", "expected"),
    [
        pytest.param(links(3), {}, 0, LIMITED, 1, id="the next"),
        pytest.param(links(3), {1: LIMITED}, 0, LIMITED, 2, id="not a cooled one"),
        pytest.param(links(3), {}, 1, LIMITED, 2, id="never back up: preferred second, first free, third is taken"),
        pytest.param(links(3), {}, 2, LIMITED, None, id="behind the last there is none"),
        pytest.param(links(2), {1: LIMITED}, 0, LIMITED, None, id="the last is not used when it is cooled"),
        pytest.param(links(2), {}, 0, REFUSED, None, id="a refused key ends the walk"),
        pytest.param(links(3, b=(Cause.API_TIMEOUT,)), {}, 0, LIMITED, 2, id="not one that lists other causes"),
        pytest.param(
            links(3, c=(Cause.QUOTA_EXHAUSTED,)),
            {1: Shut(Cause.QUOTA_EXHAUSTED)},
            0,
            LIMITED,
            2,
            id="what shuts the step between leads on from there",
        ),
        pytest.param(
            links(3, b=(Cause.API_TIMEOUT,), c=(Cause.QUOTA_EXHAUSTED,)),
            {1: Shut(Cause.QUOTA_EXHAUSTED)},
            0,
            LIMITED,
            None,
            id="a step that was not reached leads nowhere",
        ),
    ],
)
def test_walk(
    chain: tuple[Link, ...], shut: Mapping[int, Shut], failed: int, because: Shut, expected: int | None
) -> None:
    assert walk(chain, shut, failed=failed, because=because) == expected


@pytest.mark.row("S4.1", "S4.3", "C10")
@pytest.mark.parametrize(
    ("chain", "shut", "expected"),
    [
        pytest.param(links(3), {}, 0, id="the first if it is free"),
        pytest.param(links(3), {0: LIMITED}, 1, id="else the next"),
        pytest.param(links(4), dict.fromkeys(range(3), LIMITED), 3, id="each limited in turn gives the next"),
        pytest.param(links(3), dict.fromkeys(range(3), LIMITED), None, id="none if all are cooled"),
        pytest.param(links(2), {0: Shut(None)}, None, id="not past one of which nothing is known yet"),
        pytest.param(links(2), {0: REFUSED}, None, id="not past a refused key"),
        pytest.param(links(2, b=(Cause.FULL,)), {0: LIMITED}, None, id="not to one that is for full lanes only"),
    ],
)
def test_from_top(chain: tuple[Link, ...], shut: Mapping[int, Shut], expected: int | None) -> None:
    assert from_top(chain, shut) == expected


@pytest.mark.row("S0.28")
@pytest.mark.parametrize(
    ("runs", "among", "expected"),
    [
        pytest.param({("n", "a"): 2, ("n", "b"): 1}, (0, 1), 1, id="the fewest runs"),
        pytest.param({("n", "a"): 1, ("n", "b"): 1}, (1, 0), 0, id="of equals the first by name"),
        pytest.param({("n", "a"): 1}, (0, 1), 1, id="a lane without runs has none"),
        pytest.param({("n", "b"): 0}, (0,), 0, id="only among those that are free"),
        pytest.param({}, (), None, id="none among none"),
    ],
)
def test_least_busy(runs: Mapping[Key, int], among: tuple[int, ...], expected: int | None) -> None:
    assert least_busy(links(2), among, runs) == expected


def test_full_has_to_be_listed() -> None:
    assert lists_full(Link("n", "a", "m", (Cause.FULL, Cause.API_TIMEOUT)))
    assert not lists_full(Link("n", "a", "m"))


CAUSES = st.lists(st.sampled_from(Cause), max_size=3).map(tuple)
CHAINS = st.lists(CAUSES, min_size=1, max_size=8).map(
    lambda many: tuple(Link("n", f"l{number}", "m", causes) for number, causes in enumerate(many))
)
SHUTS = st.builds(Shut, st.none() | st.sampled_from(Cause), st.booleans())


@st.composite
def moments(draw: st.DrawFn) -> tuple[tuple[Link, ...], dict[int, Shut]]:
    """A chain and what is shut on it."""
    chain = draw(CHAINS)
    shut = draw(st.dictionaries(st.integers(0, len(chain) - 1), SHUTS, max_size=len(chain)))
    return chain, shut


@pytest.mark.row("C10", "S4.2", "B20")
@given(moments(), st.data())
def test_a_walk_only_goes_down_and_never_to_a_step_that_is_shut(
    moment: tuple[tuple[Link, ...], dict[int, Shut]], data: st.DataObject
) -> None:
    chain, shut = moment
    failed = data.draw(st.integers(0, len(chain) - 1))
    because = data.draw(SHUTS)
    to = walk(chain, shut, failed=failed, because=because)
    if to is not None:
        assert to > failed
        assert to not in shut
        leading = [because, *(shut[n] for n in range(failed + 1, to) if n in shut)]
        assert any(admits(chain[to], one) for one in leading)


@given(moments())
def test_from_the_top_the_first_reached_step_that_is_open_is_taken(
    moment: tuple[tuple[Link, ...], dict[int, Shut]],
) -> None:
    chain, shut = moment
    found, way = from_top(chain, shut), reached(chain, shut)
    assert way[0] == 0
    if found is None:
        assert all(number in shut for number in way)
    else:
        assert found not in shut
        assert all(number in shut for number in way if number < found)


STEPS = st.lists(
    st.builds(
        Step,
        lane=st.sampled_from("abcde"),
        namespace=st.none() | st.sampled_from("nm"),
        model=st.none() | st.sampled_from(["qwen3:30b", "x"]),
    ),
    max_size=16,
)


@pytest.mark.row("S2.30", "C23")
@given(
    STEPS.filter(bool),
    st.dictionaries(
        st.tuples(st.sampled_from("nm"), st.sampled_from("abcde")), STEPS.map(lambda s: LaneSteps("m", tuple(s)))
    ),
)
def test_any_chain_comes_to_an_end_and_names_each_step_once(models: list[Step], known: dict[Key, LaneSteps]) -> None:
    chain = expanded(models, known)
    identities = [link.identity for link in chain.links]
    assert 1 <= len(identities) <= CHAIN_LIMIT
    assert len(set(identities)) == len(identities)
    first = models[0]
    assert (chain.links[0].key) == (first.namespace or "n", first.lane)
    if not chain.shortened:
        written = {(one.namespace or "n", one.lane) for one in models}
        assert written <= {link.key for link in chain.links}
