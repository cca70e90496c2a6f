"""P4: how much later than a plain Pod's container an agent begins, on a real node. Both are made one after the other, in turn."""

from __future__ import annotations

import copy
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import manifests
from bench.api import Api
from bench.figures import Figure, Target, at_most, differences, percentile
from bench.foreign import Foreigners
from bench.ground import NAMESPACES, new_namespace
from bench.node import Node, NoNodeError, node
from bench.podwatch import PodWatch, pod_watch
from bench.report import Part
from laneway.api import names
from laneway.kube.resources import AGENT_RUNS, MODEL_LANES, PODS, JsonObject, Resource

_ROUNDS = 5
_EACH, _EACH_FULL = 12, 40
"""Of each kind in a round. They stay until its end, and a node carries 110 pods."""
_SLOTS = 100
_SAMPLE = "sample"
_STAY = "trap 'exit 143' TERM; sleep 3600 & wait $!"
_DELETE: JsonObject = {"apiVersion": "v1", "kind": "DeleteOptions"}


@dataclass(frozen=True)
class Begun:
    """How long one took after the API server had answered its creation, in seconds."""

    to_pod: float
    """Until the watch told of its pod."""
    to_agent: float
    """Until the watch told that the agent's container runs."""


@dataclass(frozen=True)
class Round:
    """One round of both kinds."""

    runs: Sequence[Begun]
    pods: Sequence[Begun]
    others: float
    """Percent of the machine that other programs used meanwhile."""


@dataclass(frozen=True)
class Scene:
    """A namespace on a node, with a lane and what both kinds are made from."""

    api: Api
    namespace: str
    image: str
    pods: PodWatch


async def begin(*, full: bool) -> Part:
    """P4."""
    each = _EACH_FULL if full else _EACH
    try:
        with node() as here:
            async with _scene(here) as scene:
                rounds = await _rounds(scene, each, str(Path(here.kubeconfig).parents[1]))
    except NoNodeError as error:
        return Part(f"P4: not measured, because no node runs here: {error}.", (), ())
    return part(rounds, each)


def part(rounds: Sequence[Round], each: int) -> Part:
    """What the rounds say."""
    figures = []
    for percent, target in ((50, None), (99, at_most(1, compared=True))):
        figures += _figures(rounds, percent, target)
    worst = "; p99 of so few is the slowest of a round" if each < 100 else ""
    words = f"P4: {each} runs and {each} plain Pods a round, one after the other, on one node with the image{worst}."
    return Part(words, tuple(figures), tuple(one.others for one in rounds))


def _figures(rounds: Sequence[Round], percent: int, target: Target | None) -> list[Figure]:
    ours = tuple(percentile([run.to_agent for run in one.runs], percent) for one in rounds)
    theirs = tuple(percentile([pod.to_agent for pod in one.pods], percent) for one in rounds)
    made = tuple(percentile([run.to_pod for run in one.runs], percent) for one in rounds)
    return [
        Figure("P4", f"plain Pod created to its container running: p{percent}", "s", theirs),
        Figure("P4", f"run created to its agent running: p{percent}", "s", ours),
        Figure("P4", f"of this, until its pod is made: p{percent}", "s", made),
        Figure("P4", f"run more than plain Pod: p{percent}", "s", differences(ours, theirs), target),
    ]


def turns(count: int) -> list[Resource]:
    """The kinds in the order in which they are made: each comes as often after itself as after the other."""
    pair = (AGENT_RUNS, PODS)
    return [kind for number in range(count) for kind in (pair if number % 2 == 0 else reversed(pair))]


def plain(pod: JsonObject, name: str) -> JsonObject:
    """A Pod that nobody owns or knows, with the spec of one that the operator made, before a scheduler saw it."""
    spec = copy.deepcopy(pod["spec"])
    spec.pop("nodeName", None)
    return {"apiVersion": PODS.api_version, "kind": PODS.kind, "metadata": {"name": name}, "spec": spec}


@asynccontextmanager
async def _scene(here: Node) -> AsyncGenerator[Scene]:
    api = await Api.open(here.kubeconfig)
    try:
        namespace = await new_namespace(api, "begin")
        async with pod_watch(api, namespace) as pods:
            yield Scene(api, namespace, here.image, pods)
        await api.send("DELETE", NAMESPACES.path(None, namespace), _DELETE)
    finally:
        await api.close()


async def _rounds(scene: Scene, each: int, cluster: str) -> list[Round]:
    """The sample run stays throughout: its pod is the model of the plain ones, and its prompt is mounted by them too."""
    endpoint = {"url": "http://ollama.default:11434", "server": "Ollama"}
    lane = manifests.lane({"endpoint": endpoint, "capacity": {"runs": _SLOTS}}, name="lane")
    await scene.api.send("POST", MODEL_LANES.path(scene.namespace), lane)
    await scene.api.send("POST", AGENT_RUNS.path(scene.namespace), _run(scene, _SAMPLE))
    await scene.pods.running(_SAMPLE)
    selector = f"?labelSelector={names.RUN_LABEL}={_SAMPLE}"
    [sample] = (await scene.api.get(PODS.path(scene.namespace) + selector))["items"]
    await _round(scene, sample, "warm", 2, cluster)
    found = []
    for number in range(_ROUNDS):
        found.append(await _round(scene, sample, f"round-{number}", each, cluster))
        slowest = [max(one.to_agent for one in kind) for kind in (found[-1].runs, found[-1].pods)]
        print(f"  slowest run {slowest[0]:.2f} s, Pod {slowest[1]:.2f} s, others {found[-1].others:.0f} %", flush=True)
    return found


async def _round(scene: Scene, sample: JsonObject, title: str, each: int, cluster: str) -> Round:
    others = Foreigners((cluster,))
    took: dict[str, list[Begun]] = {AGENT_RUNS.kind: [], PODS.kind: []}
    made: list[tuple[Resource, str]] = []
    for number, kind in enumerate(turns(each)):
        name = f"{title}-{number}"
        body = _run(scene, name) if kind is AGENT_RUNS else plain(sample, name)
        await scene.api.send("POST", kind.path(scene.namespace), body)
        created = time.monotonic()
        seen, running = await scene.pods.running(name)
        took[kind.kind].append(Begun(max(0.0, seen - created), max(0.0, running - created)))
        made.append((kind, name))
    share = others.share()
    for kind, name in made:
        await scene.api.send("DELETE", kind.path(scene.namespace, name), _DELETE)
    await scene.pods.gone(name for _, name in made)
    return Round(took[AGENT_RUNS.kind], took[PODS.kind], share)


def _run(scene: Scene, name: str) -> JsonObject:
    resources = {"requests": {"cpu": "5m", "memory": "8Mi"}}
    agent = {"preset": "generic", "image": scene.image, "command": ["sh", "-c", _STAY], "resources": resources}
    return manifests.run({"agent": agent, "models": [{"lane": "lane"}]}, name=name)
