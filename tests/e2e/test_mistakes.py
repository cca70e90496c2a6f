"""What somebody sees who got it wrong."""

from __future__ import annotations

import json

import pytest

from e2e.commands import attempt
from e2e.stage import Stage, scripted_lane, scripted_run
from laneway.kube.resources import JsonObject

PLAIN_HTTP = {"url": "http://models.example.com", "credentialRef": {"name": "provider"}}


async def test_a_misspelt_lane_is_said_with_the_lanes_that_there_are(stage: Stage) -> None:
    await stage.add_lane(name="qwen")
    await stage.add_run({"models": [{"lane": "qwne"}]}, name="typo")
    waiting = await stage.says("Admitted", "LaneNotFound", name="typo")
    expected = f"there is no ModelLane qwne in namespace {stage.namespace}; lanes you may use: "
    assert waiting["message"].startswith(expected)
    assert "qwen" in waiting["message"].removeprefix(expected)
    status = (await stage.read("typo"))["status"]
    assert (status["phase"], status["reason"]) == ("Pending", "LaneNotFound")


@pytest.mark.parametrize(
    ("manifest", "words"),
    [
        pytest.param(
            scripted_run({"promt": "hello"}),
            'unknown field "spec.promt"',
            id="a misspelt field of a run",
        ),
        pytest.param(
            scripted_lane({"capacity": {"run": 2}}),
            'unknown field "spec.capacity.run"',
            id="a misspelt field of a lane",
        ),
        pytest.param(
            scripted_lane({"endpoint": PLAIN_HTTP}),
            "a credential goes over plain http only inside the cluster (a host of one label, .svc or .svc.cluster.local),"
            " or with insecureCredential: true",
            id="a key that would leave the cluster unencrypted",
        ),
        pytest.param(
            scripted_run({"prompt": None}),
            "exactly one of prompt and promptFrom must be set",
            id="a run without work",
            marks=pytest.mark.row("S0.22"),
        ),
    ],
)
async def test_kubectl_refuses_it_with_a_sentence(stage: Stage, manifest: JsonObject, words: str) -> None:
    code, _, complaint = attempt("kubectl", "apply", "-n", stage.namespace, "-f", "-", stdin=json.dumps(manifest))
    assert code != 0
    assert words in complaint
