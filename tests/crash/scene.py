"""The scenario: two lanes of one slot and three runs. One falls back after its first model failed, one is cancelled, one waits its turn.

Runs are made in the order of their names, so that their order in a queue does not hang on seconds. Each step of the test waits for what the step before has brought about in the cluster, so that every run of the scenario asks the same of the operator.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from integration.operators import Stage, condition, is_finished
from laneway.agent.envelope import Usage, result_line
from laneway.kube.resources import AGENT_RUNS, MODEL_LANES, JsonObject
from support.standin import Part

LANES = ("first", "second")
SECONDS = 60.0
"""The longest that a step may take."""
_PRICES = {"inputUSDPerMillion": "1", "outputUSDPerMillion": "10"}
_AGENT = {"agent": {"preset": "laneway", "image": None}}


def log_of(pod: str) -> str:
    """The log of a run's pod: the first model that the chained run meets is overloaded; an agent that is stopped has no last word.

    The log of a pod that is gone cannot be read, so that what it says of usage would hang on when the operator comes to it.
    """
    run, attempt = pod.partition("-")[0], int(pod.rpartition("-")[2])
    if run == "cancelled":
        return ""
    if (run, attempt) == ("chained", 1):
        return _result("Overloaded", is_error=True, status=529, tokens=11)
    return _result("Paris.", is_error=False, status=None, tokens=100 * attempt)


def _result(text: str, *, is_error: bool, status: int | None, tokens: int) -> str:
    return result_line(
        text=text,
        is_error=is_error,
        api_error_status=status,
        duration_milliseconds=5,
        num_turns=1,
        usage=Usage(tokens, 7),
    )


class Scene:
    """The scenario on one stage."""

    deleted_again = 0
    """How often a pod's deletion may come again without any fault."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.runs: dict[str, JsonObject] = {}

    async def set_up(self) -> None:
        """Make the lanes, before any operator runs."""
        models = [{"name": "smollm2", "pricing": _PRICES}]
        for lane in LANES:
            await self._stage.add_lane({"models": models}, name=lane, slots=1)

    async def play(self) -> None:
        """From the first start of an operator to the end of all runs."""
        await self._stage.until(self._lanes_are_ready, answer=True, seconds=SECONDS)
        self._part("cancelled")
        await self._add("cancelled", LANES[1:])
        await self._until("cancelled", works(1))
        failing = self._part("chained", exit_code=1, message="")
        await self._add("chained", LANES)
        await self._until("chained", works(1))
        succeeding = self._part("chained")
        failing.released.set()
        await self._until("chained", _waits_on_second)
        plain = self._part("plain")
        await self._add("plain", LANES[1:])
        await self._until("plain", lambda run: run.get("status", {}).get("queue", {}).get("position") == 2)
        await self._stage.change("cancelled", {"cancel": True})
        await self._until("cancelled", is_finished)
        for name, part, attempt in (("chained", succeeding, 2), ("plain", plain, 1)):
            await self._until(name, works(attempt))
            part.released.set()
            await self._until(name, is_finished)

    async def _lanes_are_ready(self) -> bool:
        listing = await self._stage.kube.list(MODEL_LANES, namespace=self._stage.namespace)
        return all(condition(lane, "Ready").get("status") == "True" for lane in listing.items)

    async def _add(self, name: str, lanes: Sequence[str]) -> None:
        steps = [{"lane": lane} for lane in lanes]
        self.runs[name] = await self._stage.add_run(name, {**_AGENT, "models": steps})

    def _part(self, name: str, **changes: Any) -> Part:
        """The next pod of a run works until it is let go."""
        return self._stage.node.play(name, Part.held(**changes))

    @property
    def size(self) -> int:
        """How many objects the operator looks at."""
        return len(self.runs) + len(LANES)

    async def touch(self) -> None:
        """Change every object in a way that means nothing, so that each is looked at again."""
        for resource, found in ((AGENT_RUNS, self.runs), (MODEL_LANES, LANES)):
            for name in found:
                known = await self._stage.kube.get(resource, self._stage.namespace, name)
                touched = int((known["metadata"].get("annotations") or {}).get("touched", "0")) + 1
                body = {"metadata": {"annotations": {"touched": str(touched)}}}
                await self._stage.kube.merge_patch(resource, self._stage.namespace, name, body)

    async def _until(self, name: str, true: Callable[[JsonObject], bool]) -> None:
        uid = self.runs[name]["metadata"]["uid"]
        try:
            await self._stage.runs.until(lambda: true(self._stage.last(uid)), seconds=SECONDS)
        except AssertionError as error:
            raise AssertionError(f"{name}: {self._stage.last(uid).get('status')}") from error


@asynccontextmanager
async def direct(stage: Stage) -> AsyncIterator[Scene]:
    """The scenario; it needs nothing else."""
    yield Scene(stage)


def works(attempt: int) -> Callable[[JsonObject], bool]:
    """Whether a run's status says that the agent of this attempt works."""
    return lambda run: (
        run.get("status", {}).get("attempt") == attempt and condition(run, "Finished").get("reason") == "Running"
    )


def _waits_on_second(run: JsonObject) -> bool:
    status: dict[str, Any] = run.get("status", {})
    moved = (run["spec"].get("activeModel") or {}).get("lane") == LANES[1] if run else False
    return moved and bool(status.get("step", {}).get("shown")) and "queue" in status
