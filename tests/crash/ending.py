"""What a scenario leaves, without what differs from one run of it to the next: times, uids and the namespace."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from crash.scene import LANES, Scene
from integration.operators import Stage
from laneway.kube.resources import AGENT_RUNS, CLAIMS, CONFIG_MAPS, EVENTS, MODEL_LANES
from support.witness import most_at_once, pods_of

_TIME = re.compile(r"(\d{4}-\d\d-\d\dT)?\d\d:\d\d:\d\d(\.\d+)?Z")
_UID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_SECONDS = "activeSeconds"


@dataclass(frozen=True)
class Ending:
    """The end state. Two are equal if nobody could tell the scenarios apart."""

    runs: dict[str, Any]
    """By name: the part of the spec that the operator writes, and the whole status."""
    pods: dict[str, list[str]]
    """By run: the names of all pods ever made, in order."""
    children: list[str]
    """ConfigMaps and claims of the runs."""
    lanes: dict[str, Any]
    """By name: the whole status."""

    def differences(self, other: Ending, *, but: Callable[[str], bool] = lambda path: False) -> list[str]:
        """Where the other one is another, in words. ``but``: paths that may differ."""
        mine, theirs = _flat(vars(self)), _flat(vars(other))
        paths = sorted(mine.keys() | theirs.keys())
        return [
            f"{path}: {mine.get(path, 'absent')} and {theirs.get(path, 'absent')}"
            for path in paths
            if mine.get(path) != theirs.get(path) and not but(path)
        ]


async def ending(stage: Stage, scene: Scene) -> Ending:
    """Read it."""
    hide = _Hiding(stage, scene)
    runs = [await stage.kube.get(AGENT_RUNS, stage.namespace, name) for name in scene.runs]
    lanes = [await stage.kube.get(MODEL_LANES, stage.namespace, name) for name in LANES]
    children = [
        child
        for resource in (CONFIG_MAPS, CLAIMS)
        for child in (await stage.kube.list(resource, namespace=stage.namespace)).items
        if child["metadata"].get("ownerReferences")
    ]
    return Ending(
        {run["metadata"]["name"]: hide([run["spec"].get("activeModel"), run.get("status")]) for run in runs},
        {name: hide(pods_of(stage.pods, run["metadata"]["uid"])) for name, run in scene.runs.items()},
        sorted(hide(child["metadata"]["name"]) for child in children),
        {lane["metadata"]["name"]: hide(lane.get("status") or {}) for lane in lanes},
    )


async def told(stage: Stage, scene: Scene) -> list[str]:
    """The Events that there are, each in one line."""
    hide = _Hiding(stage, scene)
    listing = await stage.kube.list(EVENTS, namespace=stage.namespace)
    ours = (event for event in listing.items if event["regarding"]["kind"] in {AGENT_RUNS.kind, MODEL_LANES.kind})
    return sorted(hide(f"{event['regarding']['name']} {event['reason']}: {event.get('note', '')}") for event in ours)


def most_pods_at_once(stage: Stage) -> int:
    """The most pods that a lane of one slot ever had."""
    return max(most_at_once(stage.pods, lane=lane) for lane in LANES)


class _Hiding:
    """Puts words in the place of what is another each time."""

    def __init__(self, stage: Stage, scene: Scene) -> None:
        self._words = {stage.namespace: "(namespace)"}
        self._words |= {run["metadata"]["uid"][:8]: "(uid)" for run in scene.runs.values()}

    def __call__(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: "(seconds)" if name == _SECONDS else self(one) for name, one in value.items()}
        if isinstance(value, list):
            return [self(one) for one in value]
        return self._text(value) if isinstance(value, str) else value

    def _text(self, text: str) -> str:
        text = _UID.sub("(uid)", _TIME.sub("(time)", text))
        for word, instead in self._words.items():
            text = text.replace(word, instead)
        return text


def _flat(value: Any, path: str = "") -> dict[str, str]:
    if isinstance(value, dict) and value:
        parts = [(f"{path}.{name}", one) for name, one in value.items()]
    elif isinstance(value, list) and value:
        parts = [(f"{path}[{number}]", one) for number, one in enumerate(value)]
    else:
        return {path.removeprefix("."): repr(value)}
    return {name: text for part, one in parts for name, text in _flat(one, part).items()}
