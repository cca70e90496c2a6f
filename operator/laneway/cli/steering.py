"""``kubectl laneway suspend``, ``resume`` and ``cancel``: one field of the run's spec, as a person would patch it."""

from __future__ import annotations

import sys

from laneway.api.reasons import RunCondition
from laneway.cli.asking import asked_of
from laneway.cli.door import CommandError, Door
from laneway.cli.gitops import warning
from laneway.cli.why import Asked
from laneway.kube.resources import AGENT_RUNS, JsonObject


async def suspend(door: Door, name: str) -> None:
    """Begin no new attempt. Raises CommandError, KubeError."""
    obj, asked = await _active(door, name, "suspend")
    if asked.spec.suspend:
        _say(f"{_named(asked)} is suspended already.")
        return
    obj = await door.patch(AGENT_RUNS, obj, {"suspend": True})
    then = (
        f"Attempt {asked.status.attempt} goes on to its end and no other begins; to stop it now:"
        f" kubectl laneway cancel {name} -n {door.namespace}"
        if _holds_slot(asked)
        else "It begins no attempt until it is resumed."
    )
    _say(f"{_named(asked)} suspended.", then, warning(obj, "suspend"))


async def resume(door: Door, name: str) -> None:
    """Let a suspended run go on. Raises CommandError, KubeError."""
    obj, asked = await _active(door, name, "resume")
    if not asked.spec.suspend:
        _say(f"{_named(asked)} is not suspended.", f"What it waits for: kubectl laneway why {name} -n {door.namespace}")
        return
    obj = await door.patch(AGENT_RUNS, obj, {"suspend": False})
    _say(f"{_named(asked)} resumed.", warning(obj, "suspend"))


async def cancel(door: Door, name: str) -> None:
    """Stop a run for good and keep its record. Raises CommandError, KubeError."""
    obj, asked = await _active(door, name, "cancel")
    if asked.spec.cancel:
        _say(f"{_named(asked)} is being cancelled already.")
        return
    obj = await door.patch(AGENT_RUNS, obj, {"cancel": True})
    _say(
        f"{_named(asked)} cancelled.",
        "It is stopped and keeps its record; that cannot be taken back. To run it again:"
        f" kubectl laneway retry {name} -n {door.namespace}",
        warning(obj, "cancel"),
    )


async def _active(door: Door, name: str, verb: str) -> tuple[JsonObject, Asked]:
    """A run that has not ended."""
    obj = await door.get(AGENT_RUNS, name)
    asked = asked_of(obj, door.now)
    if end := end_of(asked):
        raise CommandError(f"{name} has ended ({end}); there is nothing to {verb}")
    return obj, asked


def end_of(asked: Asked) -> str | None:
    """How a run has ended; None if it has not."""
    finished = asked.condition(RunCondition.FINISHED)
    return finished.reason if finished and finished.status == "True" else None


def _holds_slot(asked: Asked) -> bool:
    admitted = asked.condition(RunCondition.ADMITTED)
    return admitted is not None and admitted.status == "True"


def _named(asked: Asked) -> str:
    return f"agentrun.laneway.dev/{asked.name}"


def _say(*sentences: str) -> None:
    sys.stdout.write("".join(f"{sentence}\n" for sentence in sentences if sentence))
