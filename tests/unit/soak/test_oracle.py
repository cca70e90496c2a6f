"""The oracle of the soak, on made-up records: every way in which a ledger can be wrong is seen."""

from __future__ import annotations

from dataclasses import replace

import pytest

from soak.clients import refuser
from soak.oracle import AttemptKey, Rest, Row, Sums, differing, figures
from soak.reading import errors_in, value
from soak.sights import SETTLING_SECONDS, CallId, End, Sight, in_flight

RUN = "run-1"
QUIET = Rest(0, 0, 0, 0, 0)
KILL = 10.0


def seen(number: int, *, end: End = End.ANSWERED, begun: float = 1.0, ended: float = 2.0) -> Sight:
    return Sight(CallId(RUN, number), begun, ended, end)


def row(number: int | None, *, state: str = "settled", turn: bool = True, cost: int | None = 5) -> Row:
    return Row(
        RUN, 1, state, turn, metered=state == "settled", input_tokens=number, output_tokens=7, cost_micro_usd=cost
    )


def lost(number: int = 40, *, cost: int | None = 5) -> Row:
    return row(number, state="lost", turn=False, cost=cost)


def estimated(number: int) -> Row:
    return replace(row(number), metered=False)


def summed(rows: list[Row]) -> dict[AttemptKey, Sums]:
    sums = Sums()
    for one in rows:
        if one.state != "open":
            sums = sums.plus(one)
    return {(RUN, 1): sums} if rows else {}


def wrong(
    sights: list[Sight], rows: list[Row], *, kills: tuple[float, ...] = (), rest: Rest = QUIET, errors: int = 0
) -> set[str]:
    found = figures(sights, kills, rows, summed(rows), rest, errors=errors)
    return {figure.what for figure in found if figure.met is False}


AT_KILL = {"begun": 9.9, "ended": 9.95}
NO_ROW = "answered calls without a settled row, no kill near"
NAMELESS = "answers without a number, more than clients of their run left"
BROKEN = "calls refused with a 500 of the gateway's own, or in no words of the API"
NO_ROW_AT_KILL = "answered calls without a settled row, at a kill"
LOST = "rows lost at kills (bound: calls in flight then, not answered)"


@pytest.mark.parametrize(
    ("sights", "rows", "kills", "expected"),
    [
        pytest.param([seen(1)], [row(1)], (), set(), id="an answer that is settled once is right"),
        pytest.param([seen(1)], [row(None, turn=False), row(1)], (), set(), id="a try that failed before is no answer"),
        pytest.param([seen(1, end=End.LEFT)], [row(1)], (), set(), id="a client may leave an answer that was made"),
        pytest.param([seen(1, end=End.REFUSED_BY_GATEWAY)], [], (), set(), id="a refused call needs no row"),
        pytest.param(
            [seen(1, end=End.HUNG)], [], (), {"calls that nothing ended for a minute"}, id="a call that hangs is seen"
        ),
        pytest.param([seen(1, end=End.BROKEN)], [], (), {BROKEN}, id="an accident of the gateway is seen"),
        pytest.param([seen(1)], [], (), {NO_ROW}, id="an answer without a row is seen"),
        pytest.param([seen(1)], [row(1, turn=False)], (), {NO_ROW}, id="a row without an answer does not do for one"),
        pytest.param([seen(1)], [lost()], (KILL,), {NO_ROW, LOST}, id="a kill long after excuses nothing"),
        pytest.param(
            [seen(1, **AT_KILL)], [lost()], (KILL,), set(), id="a kill between answer and commit loses one row"
        ),
        pytest.param(
            [seen(1, **AT_KILL)],
            [row(1), lost()],
            (KILL,),
            {LOST},
            id="a call in flight that is settled loses no row beside",
        ),
        pytest.param(
            [seen(1, end=End.CUT, begun=9.9, ended=10.1)], [lost()], (KILL,), set(), id="a call that a kill cut is lost"
        ),
        pytest.param([seen(1, **AT_KILL)], [], (KILL,), {NO_ROW_AT_KILL}, id="even at a kill a row must be there"),
        pytest.param(
            [seen(1, **AT_KILL)], [lost(), lost()], (KILL,), {LOST}, id="more lost rows than calls in flight are seen"
        ),
        pytest.param(
            [seen(1, **AT_KILL)], [lost(cost=None)], (KILL,), {"lost rows without a charge"}, id="a lost row is charged"
        ),
        pytest.param(
            [seen(1), seen(2, end=End.LEFT)],
            [row(1), estimated(2530)],
            (),
            set(),
            id="a client may leave before an answer's usage",
        ),
        pytest.param(
            [seen(1)],
            [estimated(1)],
            (),
            {NO_ROW, NAMELESS},
            id="an answer with its usage is not estimated",
        ),
        pytest.param(
            [seen(1), seen(2, end=End.LEFT)],
            [row(1), estimated(1), estimated(1)],
            (),
            {NAMELESS},
            id="more estimates than clients that left are seen",
        ),
        pytest.param([seen(1)], [row(1), row(1)], (), {"calls in the ledger twice"}, id="a call twice is seen"),
        pytest.param(
            [seen(1)],
            [row(1), row(2)],
            (),
            {"answers in the ledger that no client asked for"},
            id="an answer that nobody asked for is seen",
        ),
        pytest.param(
            [seen(1)], [row(1), row(None, state="open", turn=False)], (), {"rows still open"}, id="an open row"
        ),
        pytest.param(
            [seen(1), seen(1)],
            [row(1)],
            (),
            {"numbers that clients gave twice"},
            id="the clients themselves are watched",
        ),
    ],
)
def test_what_is_wrong_is_told_and_nothing_else(
    sights: list[Sight], rows: list[Row], kills: tuple[float, ...], expected: set[str]
) -> None:
    assert wrong(sights, rows, kills=kills) == expected


@pytest.mark.parametrize(
    ("field", "what"),
    [
        pytest.param("open_calls", "open calls at the end", id="an open call"),
        pytest.param("waiting_calls", "waiting calls at the end", id="a waiting call"),
        pytest.param("places_held", "places held at the end", id="a leaked place"),
        pytest.param("waiting_writes", "rows not written at the end", id="a row that was not written"),
        pytest.param("reserved_micro_usd", "micro-dollars reserved at the end", id="money that is held for ever"),
    ],
)
def test_what_is_left_at_the_end_is_told(field: str, what: str) -> None:
    assert wrong([seen(1)], [row(1)], rest=replace(QUIET, **{field: 1})) == {what}


def test_an_error_in_the_log_is_told() -> None:
    log = '{"level": "info"}\n{"level": "warning"}\n{"level": "error", "error": "x"}\nTraceback\n[]\n'
    assert errors_in(log) == ['{"level": "error", "error": "x"}', "Traceback", "[]"]
    assert wrong([seen(1)], [row(1)], errors=3) == {"errors in the gateway's log"}


@pytest.mark.parametrize(
    ("status", "text", "expected"),
    [
        pytest.param(500, '{"error": {"by": "soak", "type": "x"}}', (End.REFUSED_BY_SERVER, ""), id="the server's"),
        pytest.param(502, '{"error": {"by": "soak"}}', (End.REFUSED_BY_SERVER, ""), id="the server's without a type"),
        pytest.param(503, '{"error": {"type": "api"}}', (End.REFUSED_BY_GATEWAY, "503 api"), id="the gateway's own"),
        pytest.param(500, '{"error": {"type": "api"}}', (End.BROKEN, ""), id="a 500 of the gateway"),
        pytest.param(503, "<html>", (End.BROKEN, ""), id="no JSON"),
        pytest.param(503, '{"error": "no"}', (End.BROKEN, ""), id="no error of the API"),
        pytest.param(503, "[]", (End.BROKEN, ""), id="no object"),
    ],
)
def test_who_refused_is_read_from_the_words(status: int, text: str, expected: tuple[End, str]) -> None:
    assert refuser(status, text) == expected


def test_the_state_must_say_what_the_rows_add_up_to() -> None:
    rows = [row(1), lost(), row(3, state="open", turn=False)]
    right = Sums(calls=2, turns=1, input_tokens=41, output_tokens=14, unmetered_calls=1, cost_micro_usd=10)
    assert differing(rows, {(RUN, 1): right}) == set()
    assert differing(rows, {(RUN, 1): replace(right, cost_micro_usd=9)}) == {(RUN, 1)}
    assert differing(rows, {}) == {(RUN, 1)}
    assert differing([], {("other", 2): right}) == {("other", 2)}


@pytest.mark.parametrize(
    ("begun", "ended", "met"),
    [
        pytest.param(9.0, 11.0, True, id="open at the kill"),
        pytest.param(8.0, KILL - SETTLING_SECONDS, True, id="ended just before it"),
        pytest.param(8.0, KILL - SETTLING_SECONDS - 0.1, False, id="ended long before it"),
        pytest.param(10.1, 11.0, False, id="begun after it"),
    ],
)
def test_a_call_is_in_flight_at_a_kill_until_its_row_can_be_written(begun: float, ended: float, met: bool) -> None:
    assert bool(in_flight([seen(1, begun=begun, ended=ended)], [KILL])) is met


def test_a_metric_is_summed_over_its_labels_and_one_that_is_not_told_is_not_zero() -> None:
    text = '# HELP laneway_lane_calls x\nlaneway_lane_calls{lane="a"} 2.0\nlaneway_lane_calls{lane="b"} 1.0\n'
    assert value(text, "laneway_lane_calls") == 3
    with pytest.raises(ValueError, match="does not tell"):
        value(text, "laneway_lane")
