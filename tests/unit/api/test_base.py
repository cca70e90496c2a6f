"""Names on the wire, times, and what a model sends."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from pydantic import ValidationError

from laneway.api.agentrun import AgentRun, AgentRunSpec, Parameters
from laneway.api.base import Condition, format_time, wire_name
from laneway.api.modellane import AllowedNamespaces, ModelLane, Pricing
from laneway.api.podoptions import Resources
from laneway.api.runstatus import AgentRunStatus, Attempt, StepStatus


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        pytest.param("lane", "lane", id="one word stays"),
        pytest.param("active_runs", "activeRuns", id="two words are camelCase"),
        pytest.param("cost_usd", "costUSD", id="an acronym at the end is upper case"),
        pytest.param("pod_uid", "podUID", id="a uid is a UID"),
        pytest.param("pod_ttl_seconds", "podTTLSeconds", id="an acronym in the middle is upper case"),
        pytest.param("input_usd_per_million", "inputUSDPerMillion", id="and the word after it keeps its capital"),
        pytest.param("url", "url", id="a first word is lower case, acronym or not"),
    ],
)
def test_wire_names(field: str, expected: str) -> None:
    assert wire_name(field) == expected


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        pytest.param(datetime(2026, 3, 1, 14, 2, 5, tzinfo=UTC), "2026-03-01T14:02:05Z", id="UTC is written with Z"),
        pytest.param(
            datetime(2026, 3, 1, 0, 30, tzinfo=timezone(timedelta(hours=2))),
            "2026-02-28T22:30:00Z",
            id="other zones become UTC",
        ),
        pytest.param(
            datetime(2026, 3, 1, 14, 2, 5, 999_999, tzinfo=UTC), "2026-03-01T14:02:05Z", id="parts of a second are cut"
        ),
    ],
)
def test_times_are_rfc_3339_with_whole_seconds(moment: datetime, text: str) -> None:
    assert format_time(moment) == text


def test_what_is_unknown_is_absent_and_not_zero() -> None:
    assert not any(AgentRunStatus().to_wire().values())


def test_fields_with_names_that_python_reserves_have_them_on_the_wire() -> None:
    attempt = Attempt.model_validate(
        {"id": 1, "step": {"lane": "a", "namespace": "b", "model": "c"}, "class": "APITimeout"}
    )
    assert attempt.step == StepStatus(lane="a", namespace="b", model="c")
    assert attempt.to_wire()["class"] == "APITimeout"
    assert AllowedNamespaces().to_wire() == {"from": "Same"}


def test_a_field_of_a_newer_version_is_ignored() -> None:
    spec = {"prompt": "Hello", "models": [{"lane": "local", "novel": 1}], "novel": {}}
    assert AgentRun.model_validate({"spec": spec, "novel": 1}).spec.models[0].lane == "local"


def test_a_value_cannot_be_changed_in_place() -> None:
    step = StepStatus(lane="a", namespace="b", model="c")
    with pytest.raises(ValidationError, match="frozen"):
        step.lane = "x"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("model", "value", "expected"),
    [
        pytest.param(Pricing, {"inputUSDPerMillion": 5}, {"inputUSDPerMillion": "5"}, id="a price of 5"),
        pytest.param(Pricing, {"inputUSDPerMillion": "2.50"}, {"inputUSDPerMillion": "2.50"}, id="a price of 2.50"),
        pytest.param(Resources, {"limits": {"cpu": 1}}, {"limits": {"cpu": "1"}}, id="one cpu"),
        pytest.param(Parameters, {"temperature": 0}, {"temperature": "0"}, id="a temperature of 0"),
    ],
)
def test_a_decimal_is_a_string_inside_even_if_it_was_written_as_a_whole_number(
    model: type[Pricing] | type[Resources] | type[Parameters], value: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert model.model_validate(value).to_wire() == expected


@pytest.mark.parametrize("status", ["true", "", "Maybe"])
def test_a_condition_is_true_false_or_unknown(status: str) -> None:
    with pytest.raises(ValidationError, match="status"):
        Condition(type="Ready", status=status, reason="Why", last_transition_time=datetime(2026, 1, 1, tzinfo=UTC))


def test_what_the_api_server_stores_is_read_back_the_same() -> None:
    wire = ModelLane.model_validate(
        {
            "spec": {
                "endpoint": {"url": "http://ollama:11434"},
                "models": [{"name": "m", "pricing": {"inputUSDPerMillion": "1"}}],
            }
        }
    ).to_wire()
    assert ModelLane.model_validate(wire).to_wire() == wire


def test_a_time_without_a_zone_is_none() -> None:
    """Compared with the clock it would raise in the middle of a lane's pass."""
    with pytest.raises(ValidationError, match="timezone"):
        AgentRunSpec.model_validate({"prompt": "x", "models": [{"lane": "a"}], "notBeforeTime": "2026-03-01T12:00:00"})
