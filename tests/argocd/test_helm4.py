"""Helm 4, which applies on the server's side and waits by kstatus: a run in a chart."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

import pytest

from integration.operators import Stage
from integration.test_gitops import TIMES, Source
from integration.walked import CHAIN, active_models, ends_in_its_pod, restored_events, walk
from modelserver import ModelServer
from support.standin import Part

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def helm4() -> str:
    """The program, which is built when it is not there."""
    done = subprocess.run([str(ROOT / "hack" / "tool"), "helm4"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()[-1]


@pytest.fixture
def source(namespace: str, tmp_path: Path, helm4: str) -> Source:
    return Source(tmp_path, namespace, helm4)


@pytest.mark.row("S4.3")
async def test_upgrades_leave_the_active_model_alone_however_often_they_come(
    stage: Stage, server: ModelServer, source: Source
) -> None:
    walked = await walk(stage, server, lambda: source.helm("install"))
    before = len(active_models(stage, walked.run))
    for priority in range(1, TIMES + 1):
        await asyncio.to_thread(source.helm, "upgrade", priority=priority)
    assert (await stage.run())["spec"]["priority"] == TIMES
    await ends_in_its_pod(stage, walked)
    since = active_models(stage, walked.run)[before:]
    assert len(since) >= TIMES
    assert all(value == walked.active_model for value in since), since
    assert await restored_events(stage) == 0


@pytest.mark.row("S4.3")
async def test_a_forced_replacement_drops_it_and_it_is_written_again(
    stage: Stage, server: ModelServer, source: Source
) -> None:
    walked = await walk(stage, server, lambda: source.helm("install"))
    before = len(active_models(stage, walked.run))
    await asyncio.to_thread(source.helm, "upgrade", "--force-replace", "--server-side=false", priority=1)

    def dropped_and_back() -> bool:
        since = active_models(stage, walked.run)[before:]
        return None in since and since[-1] is not None

    await stage.runs.until(dropped_and_back)
    await ends_in_its_pod(stage, walked)
    assert await restored_events(stage) == 1


@pytest.mark.parametrize(
    ("exit_code", "refused"),
    [pytest.param(0, "", id="a run that ends well"), pytest.param(3, "failed", id="a run that fails")],
)
async def test_an_upgrade_that_waits_ends_with_the_run(
    stage: Stage, source: Source, exit_code: int, refused: str
) -> None:
    stage.start()
    for step in CHAIN:
        await stage.add_lane(name=step["lane"])
    part = stage.node.play("hello", Part.held(exit_code=exit_code))
    await asyncio.to_thread(source.helm, "install")
    await stage.has_pod(await stage.run(), phase="Running")
    waits = asyncio.create_task(asyncio.to_thread(source.helm, "upgrade", "--wait", "--timeout", "50s", priority=1))
    await stage.runs.until(lambda: stage.runs.of("hello")[-1].object["spec"].get("priority") == 1)
    assert not waits.done()
    part.released.set()
    if refused:
        with pytest.raises(AssertionError, match=f"(?i){refused}"):
            await waits
    else:
        await waits
    assert (await stage.run())["status"]["phase"] in {"Succeeded", "Failed"}


async def test_an_installation_that_waits_does_not_take_a_run_that_nobody_has_looked_at_for_done(
    stage: Stage, source: Source
) -> None:
    with pytest.raises(AssertionError, match=r"(?i)InProgress|not ready|deadline"):
        await asyncio.to_thread(source.helm, "install", "--wait", "--timeout", "5s")
    assert (await stage.run())["status"] == {"observedGeneration": 0}
