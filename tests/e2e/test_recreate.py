"""A run that is deleted and made again under its name, over and over, with pods that need long to leave."""

from __future__ import annotations

import pytest

from e2e import agents
from e2e.scripted import Scripted
from e2e.stage import Stage
from laneway.api.names import RUN_UID_LABEL
from laneway.kube.resources import AGENT_RUNS, PODS, JsonObject
from support.witness import Witness, witness

TIMES = 100
EVERY_TENTH = 10
STAYS = "trap 'sleep 10; echo -n {number} > /dev/termination-log; exit 0' TERM; sleep 600 & wait $!"
"""Ends well, with its number as its last words, ten seconds after it was told to leave: long after its run was deleted."""
ROOM = 60
"""Pods that may be there at once; a node takes 110."""


@pytest.mark.row("S2.8", "S2.20", "B16")
async def test_a_run_made_again_a_hundred_times_never_gets_the_result_of_an_old_pod(
    stage: Stage, scripted: Scripted, test_image: str
) -> None:
    numbers: dict[str, str] = {}
    await stage.add_lane({"capacity": {"runs": 200}})
    async with (
        witness(stage.kube, PODS, stage.namespace) as pods,
        witness(stage.kube, AGENT_RUNS, stage.namespace) as runs,
    ):
        for number in range(1, TIMES + 1):
            ends = number % EVERY_TENTH == 0
            script = f"echo -n {number} > /dev/termination-log" if ends else STAYS.format(number=number)
            run = await stage.add_run({"agent": agents.shell(script)})
            uid = run["metadata"]["uid"]
            numbers[uid] = str(number)
            if ends:
                [ended] = await stage.succeeded()
                assert (ended["metadata"]["uid"], ended["status"]["result"]["summary"]) == (uid, str(number))
            else:
                await pods.until(lambda uid=uid: phase_of(pods, uid) == "Running", seconds=60)
            await stage.delete_run()
            await pods.until(lambda: there(pods) < ROOM, seconds=60)
    old_ends = [pod for pod in of_runs(pods) if pod.get("status", {}).get("phase") == "Succeeded"]
    assert len(numbers) == TIMES
    assert len(old_ends) > TIMES / 2, "old pods really ended, and ended well, while newer runs were there"
    for event in runs.events:
        result = (event.object.get("status") or {}).get("result")
        if result is not None:
            assert result["summary"] == numbers[event.object["metadata"]["uid"]]
    for pod in of_runs(pods):
        owner = pod["metadata"]["labels"][RUN_UID_LABEL]
        assert owner in numbers
        assert pod["metadata"]["name"] == f"run-{owner[:8]}-1", "one pod a run"


def of_runs(pods: Witness) -> list[JsonObject]:
    """The pods of runs, as they were last seen."""
    return [pod for pod in pods.objects().values() if RUN_UID_LABEL in pod["metadata"].get("labels", {})]


def phase_of(pods: Witness, run_uid: str) -> str | None:
    """The phase of a run's pod."""
    found = [pod for pod in of_runs(pods) if pod["metadata"]["labels"][RUN_UID_LABEL] == run_uid]
    return found[-1].get("status", {}).get("phase") if found else None


def there(pods: Witness) -> int:
    """How many pods are there, those that are stopping included."""
    gone = {event.object["metadata"]["uid"] for event in pods.events if event.type == "DELETED"}
    return len(set(pods.objects()) - gone)
