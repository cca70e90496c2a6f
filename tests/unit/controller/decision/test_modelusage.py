"""Usage by the model that served, of an attempt and of a run: whole, or not shown."""

from __future__ import annotations

import pytest

from laneway.api.gatewaystate import ModelTotals
from laneway.api.runstatus import MODELS_SHOWN, ModelUsage, Usage
from laneway.controller.decision.status import add_usage, gateway_usage
from support.builders import metered


def told(*models: tuple[str, int, int], given: int, got: int) -> Usage:
    """An attempt's usage as the gateway tells it: models with their tokens, and the tokens of all."""
    known = tuple(ModelTotals(model=name, input_tokens=up, output_tokens=down) for name, up, down in models)
    state = metered(input_tokens=given, output_tokens=got)
    return gateway_usage(state.model_copy(update={"models": known}), complete=True)


def shown(usage: Usage) -> list[tuple[str, int, int]]:
    return [(one.model, one.input_tokens, one.output_tokens) for one in usage.by_model or ()]


@pytest.mark.row("S2.40")
@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        pytest.param(
            told(("small", 5, 1), ("big", 10, 2), given=15, got=3), [("big", 10, 2), ("small", 5, 1)], id="two models"
        ),
        pytest.param(told(("big", 10, 2), given=15, got=3), [], id="a part that is not the whole"),
        pytest.param(told(given=0, got=0), [], id="nothing yet"),
        pytest.param(told(given=15, got=3), [], id="an older gateway that does not tell"),
        pytest.param(
            told(*((f"m{n:02}", 1, 1) for n in range(MODELS_SHOWN + 1)), given=MODELS_SHOWN + 1, got=MODELS_SHOWN + 1),
            [],
            id="more models than there is room for",
        ),
    ],
)
def test_an_attempts_usage_by_model(usage: Usage, expected: list[tuple[str, int, int]]) -> None:
    assert shown(usage) == expected


@pytest.mark.row("S2.40")
def test_a_runs_usage_by_model_grows_with_that_of_its_attempts() -> None:
    early = told(("big", 10, 2), given=10, got=2)
    late = told(("big", 20, 3), ("small", 5, 1), given=25, got=4)
    run = add_usage(add_usage(None, before=None, after=early), before=early, after=late)
    assert shown(run) == [("big", 20, 3), ("small", 5, 1)]
    again = add_usage(run, before=None, after=told(("small", 7, 1), given=7, got=1))
    assert shown(again) == [("big", 20, 3), ("small", 12, 2)]
    assert (again.input_tokens, again.output_tokens) == (32, 5)


def test_an_attempt_that_does_not_tell_leaves_the_run_without() -> None:
    run = add_usage(None, before=None, after=told(("big", 10, 2), given=10, got=2))
    run = add_usage(run, before=None, after=told(given=3, got=1))
    assert run.by_model is None
    assert add_usage(run, before=None, after=told(("big", 1, 1), given=1, got=1)).by_model is None


def test_what_no_server_said_of_its_cache_stays_unknown() -> None:
    usage = Usage(input_tokens=3, output_tokens=1, by_model=(ModelUsage(model="big", input_tokens=3, output_tokens=1),))
    [one] = add_usage(None, before=None, after=usage).by_model or ()
    assert (one.cache_read_tokens, one.cache_write_tokens) == (None, None)
