"""`helm upgrade` from an earlier commit while runs work and wait: none is lost, none fails, and what broke is said."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from e2e import agents, earlier, release
from e2e.commands import until
from e2e.scripted import Scripted
from e2e.stage import Stage
from laneway.kube.resources import PODS, JsonObject
from modelserver.shapes import TEXT
from support.witness import most_at_once, witness

SLOTS = 8
LONG = [f"long-{number}" for number in range(3)]
"""Runs with a call that is open for longer than a gateway that leaves waits for it."""
SHORT = [f"short-{number}" for number in range(3)]
"""Runs with a call that ends while it waits."""
QUIET = ["quiet-0", "quiet-1"]
"""Runs that work without a call."""
QUEUED = [f"queued-{number}" for number in range(4)]
"""Runs that wait for a slot when the upgrade begins."""
EVERYONE = [*LONG, *SHORT, *QUIET, *QUEUED]


@pytest.mark.usefixtures("whole_release", "test_image")
async def test_no_run_is_lost_or_fails_and_broken_attempts_are_told(
    stage: Stage,
    scripted: Scripted,
    laneway_image: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = await asyncio.to_thread(earlier.earlier_release, tmp_path)
    await asyncio.to_thread(earlier.install, before)
    await until(release.all_ready, seconds=90, every=0.5, what="the earlier release is ready")
    old = _uids("operator") | _uids("gateway")
    async with witness(stage.kube, PODS, stage.namespace) as pods:
        made = await _begin(stage, scripted)
        await asyncio.to_thread(earlier.upgrade, laneway_image)
        await until(release.all_ready, seconds=90, every=0.5, what="this release is ready")
        assert not old & (_uids("operator") | _uids("gateway")), "every pod was replaced"
        ended = await stage.succeeded(*EVERYONE, seconds=150)
    assert {one["metadata"]["name"]: one["metadata"]["uid"] for one in ended} == made, "no run was lost"
    assert most_at_once(pods, lane="lane") <= SLOTS
    runs = dict(zip(EVERYONE, ended, strict=True))
    for name in (*QUIET, *SHORT):
        assert [one["outcome"] for one in runs[name]["status"]["attempts"]] == ["Succeeded"], name
    broken = {name: _broken(run) for name, run in runs.items() if _broken(run)}
    assert set(broken) >= set(LONG), "a call of a minute does not outlive the gateway that carries it"
    for name, attempts in broken.items():
        assert all("the gateway was away" in one["message"] for one in attempts), name
        assert runs[name]["status"]["attempts"][-1]["outcome"] == "Succeeded"
    for name in (*LONG, *SHORT):
        assert runs[name]["status"]["result"]["summary"] == TEXT
    with capsys.disabled():
        count = sum(map(len, broken.values()))
        print(
            f"\nupgrade from {before.commit or 'this tree'}: {len(ended)} runs, 0 lost, 0 failed, {count} attempts broken"
        )
        for name, attempts in broken.items():
            print(f"  {name}: {[(one['id'], one['outcome'], one['message']) for one in attempts]}")


async def _begin(stage: Stage, scripted: Scripted) -> dict[str, str]:
    """All runs, most of them at work, some in line; answers their uids."""
    await stage.add_lane({"capacity": {"runs": SLOTS}})
    specs: dict[str, JsonObject] = {
        **{name: {"agent": agents.says("done", before="sleep 60")} for name in QUIET},
        **{name: {"prompt": "sleep:60 What is the capital of France?"} for name in LONG},
        **{name: {"prompt": "sleep:12 What is the capital of France?"} for name in SHORT},
    }
    made = [await stage.add_run(spec, name=name) for name, spec in specs.items()]
    await until(lambda: len(scripted.requests()) == len(LONG) + len(SHORT), seconds=60, what="all calls are open")
    for name in QUIET:
        await stage.running_pod(name)
    made += [await stage.add_run({"agent": agents.says("done")}, name=name) for name in QUEUED]
    for name in QUEUED:
        await stage.waits_for_slot("", name=name)
    return {one["metadata"]["name"]: one["metadata"]["uid"] for one in made}


def _uids(component: str) -> set[str]:
    return {pod["metadata"]["uid"] for pod in release.pods(component)}


def _broken(run: JsonObject) -> list[JsonObject]:
    return [one for one in run["status"]["attempts"] if one["outcome"] == "Disrupted"]
