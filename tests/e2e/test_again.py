"""Agents that are run again, and agents that are stopped, on a real node."""

from __future__ import annotations

import json
from typing import Any

import pytest

from e2e import agents
from e2e.scripted import Scripted
from e2e.stage import Stage, condition

FAILS_FIRST = """
if [ "$LANEWAY_ATTEMPT" = 1 ]; then printf 'no compiler' > /dev/termination-log; exit 3; fi
cat "$LANEWAY_LAST_ERROR_FILE" > /dev/termination-log
"""
DONE_IN_ROUND_2 = """
if [ "$LANEWAY_ROUND" = 2 ]; then printf 'all is said\\nlaneway: done nothing is left' > /dev/termination-log; fi
"""


@pytest.mark.row("S4.42", "S3.30")
async def test_a_task_that_failed_is_tried_again_and_the_agent_finds_why(
    stage: Stage, scripted: Scripted, test_image: str
) -> None:
    await stage.add_lane()
    run = await stage.add_run({"agent": agents.shell(FAILS_FIRST), "retry": {"policy": "Same", "maxRetries": 1}})
    waiting = await stage.says("Admitted", "WaitingForRetry", seconds=60)
    assert "no compiler" in waiting["message"] or "exited with 3" in waiting["message"]
    await stage.holds_no_slot()
    [ended] = await stage.succeeded(seconds=120)
    status = ended["status"]
    assert [one["outcome"] for one in status["attempts"]] == ["Failed", "Succeeded"]
    assert status["retries"] == 1
    told = json.loads(status["result"]["summary"])
    assert (told["attempt"], told["outcome"], told["class"]) == (1, "Failed", "TaskFailure")
    assert len(await stage.events(run, "RetryPlanned")) == 1


@pytest.mark.row("S3.29", "S3.31")
async def test_an_agent_is_run_in_rounds_until_it_says_that_it_is_done(
    stage: Stage, scripted: Scripted, test_image: str
) -> None:
    await stage.add_lane()
    run = await stage.add_run({"agent": agents.shell(DONE_IN_ROUND_2), "rounds": {"max": 5, "delaySeconds": 1}})
    [ended] = await stage.succeeded(seconds=90)
    assert ended["status"]["round"] == 2
    assert "nothing is left" in condition(ended, "Finished")["message"]
    assert len(await stage.pods(run)) == 2


@pytest.mark.row("S4.17", "S3.27")
@pytest.mark.parametrize(
    ("timeouts", "reason"),
    [
        pytest.param({"idleSeconds": 6}, "IdleTimeout", id="one that neither calls nor writes"),
        pytest.param({"attemptSeconds": 4}, "AttemptTimeout", id="one that takes too long"),
    ],
)
async def test_an_agent_is_stopped(
    stage: Stage, scripted: Scripted, test_image: str, timeouts: dict[str, Any], reason: str
) -> None:
    await stage.add_lane()
    run = await stage.add_run({"agent": agents.shell(agents.STAY), "timeouts": timeouts})
    [ended] = await stage.finished(seconds=90)
    done = condition(ended, "Finished")
    assert (done["status"], done["reason"]) == ("True", reason)
    await stage.pods_gone(run)
