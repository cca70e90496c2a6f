"""The bound of a lane on a real node, judged on every event of a watch; pods that are stopping count."""

from __future__ import annotations

import pytest

from e2e import agents
from e2e.scripted import Scripted
from e2e.stage import Stage, condition
from laneway.kube.resources import PODS
from support.witness import most_at_once, witness

SLOW_TO_LEAVE = "trap 'sleep 3; exit 143' TERM; sleep 600 & wait $!"


@pytest.mark.row("S2.3", "S2.4", "S4.31", "C7")
async def test_ten_runs_on_a_lane_of_two_never_have_more_than_two_pods(
    stage: Stage, scripted: Scripted, test_image: str
) -> None:
    async with witness(stage.kube, PODS, stage.namespace) as pods:
        await stage.add_lane({"capacity": {"runs": 2}})
        await stage.add_run({"agent": agents.shell(SLOW_TO_LEAVE)}, name="leaves-slowly")
        await stage.running_pod("leaves-slowly")
        names = [f"run-{number}" for number in range(9)]
        for name in names:
            await stage.add_run({"agent": agents.says(name, before="sleep 0.5")}, name=name)
        await stage.waits_for_slot("2 of 2 slots used", name=names[-1])
        await stage.change({"cancel": True}, name="leaves-slowly")
        ended = await stage.succeeded(*names)
        [cancelled] = await stage.finished("leaves-slowly")
    assert condition(cancelled, "Finished")["reason"] == "Cancelled"
    assert [run["status"]["result"]["summary"] for run in ended] == names
    assert most_at_once(pods, lane="lane") == 2
