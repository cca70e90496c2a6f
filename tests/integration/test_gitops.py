"""What tools that put manifests do to ``spec.activeModel`` while a run walks: kubectl and Helm on the real API server.

No manifest holds the field. Tools that merge leave it alone; tools that put whole objects drop it, and the operator writes it again.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

import manifests
from integration.agents import call
from integration.operators import Stage
from integration.walked import AGENT, CHAIN, NOT_THERE, active_models, ends_in_its_pod, restored_events, walk
from laneway.kube.resources import AGENT_RUNS
from modelserver import ModelServer
from support.standin import Part

TIMES = 10


@dataclass(frozen=True)
class Source:
    """The manifest of run ``hello`` in a folder, plain and as a chart, and the tools that bring it to the cluster."""

    folder: Path
    namespace: str
    helm_program: str = "helm"

    def kubectl(self, verb: str, *flags: str, priority: int = 0) -> None:
        """Run a verb of kubectl with the manifest."""
        manifest = manifests.run({"agent": AGENT, "models": CHAIN, "priority": priority}, namespace=self.namespace)
        self._run("kubectl", verb, *flags, "-f", "-", stdin=json.dumps(manifest))

    def helm(self, verb: str, *flags: str, priority: int = 0) -> None:
        """Install or upgrade the chart, with a home of its own so that no user's settings are used."""
        templates = self.folder / "chart" / "templates"
        templates.mkdir(parents=True, exist_ok=True)
        (templates.parent / "Chart.yaml").write_text(
            json.dumps({"apiVersion": "v2", "name": "job", "version": "1.0.0"})
        )
        run = json.dumps(manifests.run({"agent": AGENT, "models": CHAIN, "priority": "PRIORITY"}))
        (templates / "run.yaml").write_text(run.replace('"PRIORITY"', "{{ .Values.priority }}"))
        given = ("--namespace", self.namespace, "--set", f"priority={priority}")
        self._run(self.helm_program, verb, "job", str(templates.parent), *given, *flags)

    def _run(self, *command: str, stdin: str | None = None) -> None:
        env = {**os.environ, "HOME": str(self.folder)}
        done = subprocess.run(
            command, input=stdin, env=env, capture_output=True, text=True, check=False, timeout=60, cwd=self.folder
        )
        assert done.returncode == 0, done.stderr


Tool = Callable[[Source, int], None]
"""Brings the manifest with this priority."""


@pytest.fixture
def source(namespace: str, tmp_path: Path) -> Source:
    return Source(tmp_path, namespace)


MERGING = [
    pytest.param(
        lambda source, priority: source.kubectl("apply", priority=priority),
        lambda source, priority: source.kubectl("apply", priority=priority),
        id="kubectl apply, merged by the client",
    ),
    pytest.param(
        lambda source, priority: source.kubectl("apply", "--server-side", priority=priority),
        lambda source, priority: source.kubectl("apply", "--server-side", "--force-conflicts", priority=priority),
        id="kubectl apply --server-side --force-conflicts",
    ),
    pytest.param(
        lambda source, priority: source.helm("install", priority=priority),
        lambda source, priority: source.helm("upgrade", priority=priority),
        id="helm upgrade",
    ),
]
PUTTING = [
    pytest.param(
        lambda source, priority: source.kubectl("apply", priority=priority),
        lambda source, priority: source.kubectl("replace", priority=priority),
        id="kubectl replace",
    ),
    pytest.param(
        lambda source, priority: source.helm("install", priority=priority),
        lambda source, priority: source.helm("upgrade", "--force", priority=priority),
        id="helm upgrade --force",
    ),
]


@pytest.mark.row("S4.3")
@pytest.mark.parametrize(("begin", "again"), MERGING)
async def test_what_merges_manifests_leaves_the_active_model_alone_however_often_it_comes(
    stage: Stage, server: ModelServer, source: Source, begin: Tool, again: Tool
) -> None:
    walked = await walk(stage, server, lambda: begin(source, 0))
    before = len(active_models(stage, walked.run))
    for priority in range(1, TIMES + 1):
        again(source, priority)
    assert (await stage.run())["spec"]["priority"] == TIMES
    await ends_in_its_pod(stage, walked)
    since = active_models(stage, walked.run)[before:]
    assert len(since) >= TIMES
    assert all(value == walked.active_model for value in since), since
    assert await restored_events(stage) == 0


@pytest.mark.row("S4.3")
@pytest.mark.parametrize(("begin", "again"), PUTTING)
async def test_what_puts_whole_objects_drops_the_active_model_and_it_is_written_again_while_the_run_goes_on(
    stage: Stage, server: ModelServer, source: Source, begin: Tool, again: Tool
) -> None:
    walked = await walk(stage, server, lambda: begin(source, 0))
    before = len(active_models(stage, walked.run))
    again(source, 1)

    def dropped_and_back() -> bool:
        since = active_models(stage, walked.run)[before:]
        return None in since and since[-1] is not None

    await stage.runs.until(dropped_and_back)
    assert (await stage.run())["spec"]["priority"] == 1
    await ends_in_its_pod(stage, walked)
    assert await restored_events(stage) == 1
    assert len((await stage.run())["status"]["activeModelRestores"]) == 1


async def test_a_forced_replace_deletes_the_run_and_another_begins_at_the_top_of_its_chain(
    stage: Stage, server: ModelServer, source: Source
) -> None:
    walked = await walk(stage, server, lambda: source.kubectl("apply"), because=NOT_THERE)
    anew = stage.node.play("hello", Part.held())
    source.kubectl("replace", "--force", priority=1)
    run = await stage.kube.get(AGENT_RUNS, stage.namespace, "hello")
    assert run["metadata"]["uid"] != walked.run["metadata"]["uid"]
    pod = await stage.has_pod(run, phase="Running")
    await stage.gone(walked.pod)
    assert (await call(stage, pod))[0] == 200
    anew.released.set()
    [ended] = await stage.finished(run)
    [attempt] = ended["status"]["attempts"]
    assert (attempt["id"], attempt["step"]["lane"]) == (1, "first")
    assert active_models(stage, run) == [None] * len(active_models(stage, run))
    assert ended["status"]["usage"]["turns"] == 1, "it pays again"
