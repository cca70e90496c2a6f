"""How runs end that take long to: begun with the others (endings.py), looked at after other tests."""

from __future__ import annotations

import pytest

from e2e.commands import until
from e2e.endings import Endings
from e2e.stage import Stage, all_ended, condition


@pytest.mark.parametrize(
    ("name", "reason", "words"),
    [
        pytest.param("exit-code", "Failed", "exited with 3: it broke", id="an exit code other than 0 is a failure"),
        pytest.param("memory", "OutOfMemory", "more memory than its limit", id="the limit of memory is named"),
        pytest.param("bad-image-name", "ImageUnavailable", "Not an image", id="an image name that is none"),
        pytest.param("too-big", "StartTimeout", "Insufficient cpu", id="no node has the room: the scheduler's words"),
        pytest.param("no-prompt", "PromptMissing", "spec.promptFrom", id="the prompt's ConfigMap is not there"),
        pytest.param("no-image", "ImageUnavailable", "localhost/no-such-image:1", id="an image that cannot be pulled"),
    ],
)
@pytest.mark.row("S0.30", "S4.16")
async def test_a_failure_ends_with_its_own_reason_and_words(free: Stage, name: str, reason: str, words: str) -> None:
    [run] = await free.finished(name, seconds=100)
    ended = condition(run, "Succeeded")
    assert (ended["status"], ended["reason"]) == ("False", reason)
    assert words in ended["message"]
    assert condition(run, "Finished")["reason"] == reason
    exit_codes = {"exit-code": 3, "memory": 137}
    assert run["status"].get("result", {}).get("exitCode") == exit_codes.get(name)
    await until(lambda: all_ended(free, run), what="no pod is left that holds anything")


@pytest.mark.row("C7")
async def test_a_run_waits_for_a_quota_and_goes_on_when_there_is_room(endings: Endings, bound: Stage) -> None:
    waiting = condition(endings.over_quota, "Admitted")
    assert (waiting["status"], waiting["reason"]) == ("False", "QuotaExceeded")
    assert "exceeded quota: pods" in waiting["message"]
    assert "attempt" not in endings.over_quota["status"], "what had no pod was no attempt"
    [run] = await bound.succeeded("over-quota", seconds=90)
    assert run["status"]["result"]["summary"] == "there is room"
    assert run["status"]["attempt"] == 1
