"""Pod in, diagnosis out: what keeps an agent from starting, and how it ended. Small checks in a row; the first that speaks wins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from laneway.api.reasons import End, Outcome
from laneway.controller.facts.pods import PodFacts

PULLS_FAILED_AFTER = timedelta(seconds=45)
"""The kubelet waits 10 s and 20 s between its first three pulls and does not count them in the pod's status: an image that still
cannot be pulled this long after scheduling has failed three times."""

VOLUME_TOLD_AFTER = timedelta(seconds=10)
"""A scheduler that has chosen a node says nothing in the pod's status until there is a volume; drivers mostly make one sooner."""

_PULL_REASONS = frozenset({"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "RegistryUnavailable"})
_VOLUME_WORDS = ("volume", "pvc", "storageclass", "free storage")
"""What the scheduler's sentences about claims have in them. The word "claim" alone also stands in those about devices."""
_START_ERRORS = frozenset({"StartError", "ContainerCannotRun"})
_KILLED = 137
_TERMINATED = 143


@dataclass(frozen=True)
class Obstacle:
    """Why an agent has not started. ``final``: it will not, so there is nothing to wait for."""

    reason: str
    message: str
    end: End
    final: bool


@dataclass(frozen=True)
class Ending:
    """How a pod ended, before cancel and model trouble are weighed."""

    outcome: Outcome
    end: End
    message: str
    exit_code: int | None


def find_obstacle(pod: PodFacts, *, prompt_missing: bool, claim: str | None, now: datetime) -> Obstacle | None:
    """What keeps the agent of a pod that has not started; None when it merely takes its time.

    ``claim``: that of its workspace; None without one.
    """
    if obstacle := _without_node(pod, claim, now):
        return obstacle
    if pod.waiting_reason == "InvalidImageName":
        return Obstacle(pod.waiting_reason, pod.waiting_message, End.IMAGE_UNAVAILABLE, final=True)
    if pod.waiting_reason in _PULL_REASONS:
        failed = pod.scheduled is not None and now - pod.scheduled >= PULLS_FAILED_AFTER
        message = f"the image cannot be pulled: {pod.waiting_message or pod.waiting_reason}"
        return Obstacle(pod.waiting_reason, message, End.IMAGE_UNAVAILABLE, final=failed)
    if prompt_missing:
        return Obstacle(
            "PromptMissing", "the ConfigMap or key of spec.promptFrom does not exist", End.PROMPT_MISSING, final=False
        )
    if pod.waiting_reason in {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}:
        message = f"the container cannot be made: {pod.waiting_message or pod.waiting_reason}"
        return Obstacle(pod.waiting_reason, message, End.START_TIMEOUT, final=False)
    return None


def _without_node(pod: PodFacts, claim: str | None, now: datetime) -> Obstacle | None:
    if pod.unschedulable:
        about_volumes = any(word in pod.unschedulable.lower() for word in _VOLUME_WORDS)
        named = _workspace_said(claim) if claim and about_volumes else ""
        message = f"no node takes the pod: {pod.unschedulable}{named}"
    elif claim and pod.scheduled is None and now >= pod.created + VOLUME_TOLD_AFTER:
        message = f"the pod still has no node: perhaps no volume was made for it{_workspace_said(claim)}"
    else:
        return None
    return Obstacle("Unschedulable", message, End.START_TIMEOUT, final=False)


def _workspace_said(claim: str) -> str:
    """The scheduler mostly says that a volume is the trouble, and neither which one nor why; Events of the claim say why."""
    return f" (the workspace is claim {claim}; kubectl describe pvc {claim} says what it waits for)"


def diagnose(pod: PodFacts, *, stopped_by_us: bool) -> Ending:
    """How a finished pod ended."""
    for check in _CHECKS:
        if ending := check(pod):
            return ending
    return _exit_code(pod, stopped_by_us=stopped_by_us)


def _disrupted(pod: PodFacts) -> Ending | None:
    """Eviction, preemption, node pressure: the cluster's doing, not the agent's."""
    if pod.reason == "Evicted" or pod.disruption:
        why = pod.message or pod.disruption or pod.reason
        return Ending(Outcome.DISRUPTED, End.EVICTED, f"the pod was evicted: {why}", _code(pod))
    return None


def _out_of_memory(pod: PodFacts) -> Ending | None:
    if pod.agent and pod.agent.reason == "OOMKilled":
        message = "the agent used more memory than its limit; raise spec.agent.resources.limits.memory"
        return Ending(Outcome.FAILED, End.OUT_OF_MEMORY, message, pod.agent.exit_code)
    return None


def _could_not_start(pod: PodFacts) -> Ending | None:
    """The runtime's message is long, and says what is wrong at its end."""
    if pod.agent and pod.agent.reason in _START_ERRORS:
        message = f"the agent's program could not be started: {' '.join(pod.agent.message.split())[-200:]}"
        return Ending(Outcome.FAILED, End.FAILED, message, pod.agent.exit_code)
    return None


def _init_failed(pod: PodFacts) -> Ending | None:
    if pod.failed_init and pod.agent is None:
        name, ended = pod.failed_init
        message = f"init container {name} exited with {ended.exit_code}{_said(ended.message)}"
        return Ending(Outcome.FAILED, End.FAILED, message, ended.exit_code)
    return None


def _refused_by_node(pod: PodFacts) -> Ending | None:
    if pod.agent is None and pod.phase == "Failed":
        message = f"the node refused the pod: {pod.message or pod.reason or 'no reason given'}"
        return Ending(Outcome.DISRUPTED, End.POD_REJECTED, message, None)
    return None


_CHECKS: tuple[Callable[[PodFacts], Ending | None], ...] = (
    _disrupted,
    _out_of_memory,
    _could_not_start,
    _init_failed,
    _refused_by_node,
)


def _exit_code(pod: PodFacts, *, stopped_by_us: bool) -> Ending:
    code = _code(pod)
    if code == 0:
        return Ending(Outcome.SUCCEEDED, End.COMPLETED, "the agent finished its work", code)
    if pod.deleting and not stopped_by_us and code in {_KILLED, _TERMINATED, None}:
        return Ending(Outcome.DISRUPTED, End.LOST_POD, "the pod was deleted while the agent ran", code)
    said = _said(pod.agent.message if pod.agent else "")
    how = "was killed (SIGKILL)" if code == _KILLED else f"exited with {code}"
    return Ending(Outcome.FAILED, End.FAILED, f"the agent {how}{said}", code)


def _code(pod: PodFacts) -> int | None:
    return pod.agent.exit_code if pod.agent else None


def _said(message: str) -> str:
    words = " ".join(message.split())
    return f": {words[:200]}" if words else ""
