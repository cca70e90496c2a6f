"""The run that flags describe."""

from __future__ import annotations

from typing import Any

import pytest

from laneway.cli.manifest import Described, manifest_of


def described(**changes: Any) -> Described:
    return Described(**{"prompt": "hi", "lanes": ["local"], "namespace": "team-a", **changes})


def test_what_no_flag_says_is_left_to_the_api() -> None:
    assert manifest_of(described()) == {
        "apiVersion": "laneway.dev/v1alpha1",
        "kind": "AgentRun",
        "metadata": {"generateName": "run-", "namespace": "team-a"},
        "spec": {"prompt": "hi", "models": [{"lane": "local"}]},
    }


@pytest.mark.parametrize(
    ("flags", "spec"),
    [
        pytest.param(
            {"lanes": ["local", "models/big"], "models": ["small", "large"]},
            {"models": [{"lane": "local", "model": "small"}, {"lane": "big", "namespace": "models", "model": "large"}]},
            id="steps in order, each with its model",
        ),
        pytest.param({"image": "a:1"}, {"agent": {"preset": "generic", "image": "a:1"}}, id="an image is generic"),
        pytest.param(
            {"image": "a:1", "preset": "codex"},
            {"agent": {"preset": "codex", "image": "a:1"}},
            id="unless a preset is named",
        ),
        pytest.param(
            {"env": ["A=b=c", "E="]},
            {"agent": {"env": [{"name": "A", "value": "b=c"}, {"name": "E", "value": ""}]}},
            id="variables, the value as it is",
        ),
        pytest.param(
            {"limit_cost": "2.50", "limit_turns": 3},
            {"limits": {"costUSD": "2.50", "turns": 3}},
            id="limits that are named",
        ),
        pytest.param({"ttl": "2d"}, {"ttlSecondsAfterFinished": 172_800}, id="a span in seconds"),
        pytest.param({"priority": 0, "caller": "ci"}, {"priority": 0, "caller": "ci"}, id="zero is a value"),
    ],
)
def test_a_flag_is_its_field(flags: dict[str, Any], spec: dict[str, Any]) -> None:
    assert spec.items() <= manifest_of(described(**flags))["spec"].items()


def test_names_and_labels_are_the_run_s() -> None:
    named = manifest_of(described(name="hello", labels=["team=a", "x="]))["metadata"]
    assert named == {"name": "hello", "namespace": "team-a", "labels": {"team": "a", "x": ""}}
    assert manifest_of(described(generate_name="nightly-"))["metadata"]["generateName"] == "nightly-"


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        pytest.param({"lanes": ["a/b/c"]}, "--lane must be LANE or NAMESPACE/LANE, not 'a/b/c'", id="too many parts"),
        pytest.param({"lanes": ["/b"]}, "--lane must be LANE or NAMESPACE/LANE", id="no namespace before the slash"),
        pytest.param({"models": ["x", "y"]}, "--model must be given as often as --lane", id="more models than lanes"),
        pytest.param({"env": ["A"]}, "--env must be NAME=VALUE, not 'A'", id="a variable without a value"),
        pytest.param({"ttl": "2"}, "'2' is no span; write 90s, 30m, 4h or 2d", id="a time to stay without its unit"),
        pytest.param({"labels": ["=x"]}, "--label must be NAME=VALUE", id="a label without a name"),
    ],
)
def test_what_is_no_flag_s_value_is_said(flags: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        manifest_of(described(**flags))
