"""The specification of a run's life, as a table: a view, the moment, and what follows from them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

import pytest

from laneway.agent.envelope import EnvelopeSummary
from laneway.agent.envelope import Usage as EnvelopeUsage
from laneway.api.base import Condition
from laneway.api.reasons import Cause, Waiting
from laneway.api.runstatus import AgentRunStatus, Queue, Usage
from laneway.controller.decide_run import decide_run
from laneway.controller.decision.effects import (
    CloseAttempt,
    CreatePod,
    DeletePod,
    EnsureClaim,
    EnsureConfigMap,
    PostEvent,
)
from laneway.controller.facts.objects import Run
from laneway.controller.facts.place import Place
from laneway.controller.facts.views import DependencyState, DependencyView, PodRefusal, RunView
from support.builders import (
    NOW,
    admitted,
    at,
    attempt,
    condition,
    ended,
    gateway,
    lane,
    metered,
    pod,
    ready,
    run,
    run_view,
    running,
)

LATER = at(30)
STARTED = admitted(pod="hello-hello-01-1", pod_uid="pod-uid", start_time=at(2))
KEEPS = {"agent": {"workspace": {"size": "10Gi"}}}
IN_MODELS = {"models": [{"lane": "local", "namespace": "models"}]}
DIRECT = lane(spec={"access": "Direct"})


def finished(usage: Usage | None = None) -> AgentRunStatus:
    return AgentRunStatus(
        observed_generation=1,
        conditions=(condition("Admitted", "False", "Finished"), condition("Finished", "True", "Completed")),
        attempt=1,
        attempts=(attempt(1, usage=usage),),
        usage=usage,
        completion_time=at(10),
    )


def cancelled(status: AgentRunStatus) -> RunView:
    return run_view(run(spec={"cancel": True}, status=status))


def depends(name: str, state: DependencyState, reason: str = "") -> DependencyView:
    return DependencyView(name, state, reason)


def impatient(since: datetime | None) -> Run:
    """A run that waits for a slot for at most a minute."""
    status = AgentRunStatus(queue=since and Queue(position=1, since=since))
    return run(spec={"timeouts": {"queueSeconds": 60}}, status=status)


@dataclass(frozen=True)
class Case:
    """One row: what is known, and what must follow."""

    view: RunView
    reason: str
    phase: str
    effects: tuple[str, ...] = ()
    says: str = ""
    now: datetime = LATER
    due: float | None = None


WAITING = {
    "a new run is queued and says how full its lane is": Case(
        run_view(place=Place(3, 2, 2)),
        "WaitingForSlot",
        "Queued",
        says="lane team-a/local: 2 of 2 slots used, position 3",
    ),
    "a run whose lane does not exist is told which lanes it may use": Case(
        run_view(lane=None, usable_lanes=("models/hosted", "qwen")),
        "LaneNotFound",
        "Pending",
        says="there is no ModelLane local in namespace team-a; lanes you may use: models/hosted, qwen",
    ),
    "a run on another namespace's lane that allows only its own is not allowed": Case(
        run_view(run(spec=IN_MODELS), lane=lane(namespace="models")),
        "NamespaceNotAllowed",
        "Pending",
        says="does not allow namespace team-a",
    ),
    "a run on another namespace's lane that allows all waits for a slot": Case(
        run_view(run(spec=IN_MODELS), lane=lane(namespace="models", spec={"allowedNamespaces": {"from": "All"}})),
        "WaitingForSlot",
        "Queued",
    ),
    "a run on a lane that is not ready says why the lane is not": Case(
        run_view(lane=lane(conditions=(ready("False", "connection refused"),))),
        "LaneNotReady",
        "Pending",
        says="lane team-a/local is not ready: connection refused",
    ),
    "a run on a suspended lane waits": Case(run_view(lane=lane(spec={"suspend": True})), "LaneSuspended", "Pending"),
    "a model that the lane does not list is named with those it does, once as an Event": Case(
        run_view(run(spec={"models": [{"lane": "local", "model": "gpt-9"}]})),
        "ModelNotFound",
        "Pending",
        ("UnknownModel",),
        "lane team-a/local has no model gpt-9; its models: smollm2",
    ),
    "a model that the server does not serve is not waited for with a slot": Case(
        run_view(lane=lane(served={"smollm2": False})), "ModelNotFound", "Pending", ("UnknownModel",)
    ),
    "an unknown preset is named with those there are": Case(
        run_view(run(spec={"agent": {"preset": "nope"}})),
        "PresetNotFound",
        "Pending",
        says="there is no preset nope; presets here: aider, claude-code, codex, gemini-cli, generic, laneway, mini-swe-agent, opencode",
    ),
    "a suspended run waits without a place in the queue": Case(
        run_view(run(spec={"suspend": True}), place=Place(1, 0, 2)), "Suspended", "Suspended"
    ),
    "a run far behind is told a range": Case(
        run_view(place=Place(50, 2, 2, first=21)),
        "WaitingForSlot",
        "Queued",
        says="lane team-a/local: all 2 slots used, position 21 to 50",
    ),
    "a run waits for what it depends on": Case(
        run_view(dependencies=(depends("busy", DependencyState.UNFINISHED),)),
        "WaitingForDependency",
        "Pending",
        says="waits for run busy to succeed",
    ),
    "a run waits for a dependency that does not exist yet": Case(
        run_view(dependencies=(depends("later", DependencyState.MISSING),)),
        "WaitingForDependency",
        "Pending",
        says="there is no run later in namespace team-a yet",
    ),
    "a run whose dependency failed ends, although another one is still missing": Case(
        run_view(dependencies=(depends("x", DependencyState.MISSING), depends("y", DependencyState.FAILED, "Failed"))),
        "DependencyFailed",
        "Failed",
        ("RunFinished",),
        "run y, which it depends on, did not succeed (Failed)",
    ),
    "a suspended run does not hear of a failed dependency": Case(
        run_view(run(spec={"suspend": True}), dependencies=(depends("y", DependencyState.FAILED, "Failed"),)),
        "Suspended",
        "Suspended",
    ),
    "a run before its time waits without a place, and is looked at then": Case(
        run_view(run(spec={"notBeforeTime": "2026-03-01T12:05:00Z"}), place=Place(1, 0, 2)),
        "NotBefore",
        "Pending",
        says="it begins at 2026-03-01T12:05:00Z",
        due=300,
    ),
    "a run that limits its wait is looked at when it is over": Case(
        run_view(impatient(at(0)), place=Place(1, 2, 2)), "WaitingForSlot", "Queued", due=60
    ),
    "a run that waited for too long for a slot ends": Case(
        run_view(impatient(at(0)), place=Place(1, 2, 2)),
        "QueueTimeout",
        "Failed",
        ("RunFinished",),
        "no slot of lane team-a/local within 60 s",
        now=at(60),
    ),
    "a wait for anything but a slot does not count": Case(
        run_view(impatient(at(0)), lane=lane(conditions=(ready("False", "connection refused"),))),
        "LaneNotReady",
        "Pending",
        now=at(600),
    ),
    "a wait for a slot begins when nothing else is missing": Case(
        run_view(impatient(None), place=Place(1, 2, 2)), "WaitingForSlot", "Queued", now=at(600), due=660
    ),
    "a waiting run that is cancelled ends at once": Case(
        cancelled(AgentRunStatus()), "Cancelled", "Failed", ("RunFinished",)
    ),
}

STARTING = {
    "a granted run gets its prompt and its pod": Case(
        run_view(run(status=admitted())), "Starting", "Starting", ("EnsureConfigMap", "CreatePod")
    ),
    "a granted run with a prompt kept elsewhere gets no ConfigMap of ours": Case(
        run_view(
            run(spec={"prompt": None, "promptFrom": {"configMapKeyRef": {"name": "p", "key": "k"}}}, status=admitted())
        ),
        "Starting",
        "Starting",
        ("CreatePod",),
    ),
    "a grant without a pod is taken back by suspend": Case(
        run_view(run(spec={"suspend": True}, status=admitted())), "Suspended", "Suspended"
    ),
    "a grant without a pod is ended by cancel, and no pod is made": Case(
        cancelled(admitted()), "Cancelled", "Failed", ("AttemptEnded", "RunFinished")
    ),
    "a pod that has not started is closed and stopped by cancel": Case(
        replace(cancelled(admitted(pod_uid="pod-uid")), pods=(pod(),)),
        "Closing",
        "Running",
        ("CloseAttempt", "DeletePod"),
    ),
    "a pod that a quota refuses gives its slot back and waits": Case(
        run_view(run(status=admitted()), refusal=PodRefusal(Waiting.QUOTA_EXCEEDED, "exceeded quota: pods")),
        "QuotaExceeded",
        "Pending",
        says="exceeded quota: pods",
    ),
    "a run with a workspace gets its claim before its pod": Case(
        run_view(run(spec=KEEPS, status=admitted())),
        "Starting",
        "Starting",
        ("EnsureConfigMap", "EnsureClaim", "CreatePod"),
    ),
    "a later attempt finds the same workspace": Case(
        run_view(run(spec=KEEPS, status=admitted(2)), pods=(ended(1),)),
        "Starting",
        "Starting",
        ("EnsureConfigMap", "EnsureClaim", "CreatePod"),
    ),
    "a workspace that another pod still uses is waited for": Case(
        run_view(run(spec=KEEPS, status=admitted(2)), pods=(running(deleting=True),)),
        "WorkspaceInUse",
        "Pending",
        says="pod hello-hello-01-1 still uses claim hello-hello-01",
    ),
    "without a workspace nobody waits for the pod of an earlier attempt": Case(
        run_view(run(status=admitted(2)), pods=(running(deleting=True),)),
        "Starting",
        "Starting",
        ("EnsureConfigMap", "CreatePod"),
    ),
    "a workspace that is not bound is named": Case(
        run_view(
            run(spec=KEEPS, status=admitted()),
            pods=(pod(unschedulable="pod has unbound immediate PersistentVolumeClaims", scheduled=None),),
        ),
        "Unschedulable",
        "Starting",
        says="PersistentVolumeClaims (the workspace is claim hello-hello-01; kubectl describe pvc hello-hello-01 says",
        due=40,
    ),
    "a workspace whose volume may still be made in time is looked at again soon": Case(
        run_view(run(spec=KEEPS, status=admitted(pod_uid="pod-uid")), pods=(pod(scheduled=None),)),
        "Starting",
        "Starting",
        says="its pod is starting",
        now=at(9),
        due=10,
    ),
    "a workspace whose volume is late is named, although the scheduler says nothing": Case(
        run_view(run(spec=KEEPS, status=admitted(pod_uid="pod-uid")), pods=(pod(scheduled=None),)),
        "Unschedulable",
        "Starting",
        says="perhaps no volume was made for it (the workspace is claim hello-hello-01; kubectl describe pvc",
        now=at(10),
        due=20,
    ),
    "without a workspace a pod that has no node yet is starting": Case(
        run_view(run(status=admitted(pod_uid="pod-uid")), pods=(pod(scheduled=None),)),
        "Starting",
        "Starting",
        says="its pod is starting",
        due=600,
    ),
    "a pod that Pod Security refuses ends the run": Case(
        run_view(run(status=admitted()), refusal=PodRefusal(None, "violates PodSecurity")),
        "PodRejected",
        "Failed",
        ("AttemptEnded", "RunFinished"),
        "violates PodSecurity",
    ),
    "a pod that no node takes says so and is looked at again": Case(
        run_view(run(status=admitted()), pods=(pod(unschedulable="0/1 nodes: Insufficient cpu", scheduled=None),)),
        "Unschedulable",
        "Starting",
        says="no node takes the pod: 0/1 nodes: Insufficient cpu",
        due=40,
    ),
    "a pod that no node takes for startSeconds ends the run, closed first": Case(
        run_view(
            run(spec={"timeouts": {"startSeconds": 20}}, status=admitted()),
            pods=(pod(unschedulable="Insufficient cpu", scheduled=None),),
        ),
        "Closing",
        "Running",
        ("CloseAttempt",),
    ),
    "a pod that never started is stopped when its run has ended": Case(
        run_view(
            run(spec={"timeouts": {"startSeconds": 20}}, status=admitted()),
            pods=(pod(unschedulable="Insufficient cpu", scheduled=None),),
            gateway=gateway(metered(turns=0)),
        ),
        "StartTimeout",
        "Failed",
        ("AttemptEnded", "RunFinished"),
        "no node takes the pod: Insufficient cpu (for 20 s)",
    ),
    "a pod that was just made is recorded with its start": Case(
        run_view(run(status=admitted()), pods=(pod(),)), "", "", now=at(1), due=2
    ),
    "a pod that does not start within two seconds is recorded before": Case(
        run_view(run(status=admitted()), pods=(pod(),)), "Starting", "Starting", now=at(2), due=600
    ),
    "an image that cannot be pulled is waited for through three pulls": Case(
        run_view(
            run(status=admitted()), pods=(pod(waiting_reason="ImagePullBackOff", waiting_message="no such image"),)
        ),
        "ImagePullBackOff",
        "Starting",
        says="the image cannot be pulled: no such image",
    ),
    "an image that failed three pulls ends the run": Case(
        run_view(
            run(status=admitted()),
            pods=(pod(waiting_reason="ErrImagePull", waiting_message="no such image"),),
            gateway=gateway(metered(turns=0)),
        ),
        "ImageUnavailable",
        "Failed",
        ("AttemptEnded", "RunFinished"),
        now=at(45),
    ),
    "a prompt that does not exist is waited for, and named": Case(
        run_view(run(status=admitted()), pods=(pod(),), prompt_missing=True), "PromptMissing", "Starting"
    ),
}

RUNNING = {
    "an agent that starts is announced once": Case(
        run_view(run(status=admitted()), pods=(running(),)), "Running", "Running", ("AttemptStarted",)
    ),
    "an agent at work needs nothing": Case(run_view(run(status=STARTED), pods=(running(),)), "Running", "Running"),
    "suspend lets a running agent finish": Case(
        run_view(run(spec={"suspend": True}, status=STARTED), pods=(running(),)), "Running", "Running"
    ),
    "cancel closes the attempt first": Case(
        replace(cancelled(STARTED), pods=(running(),)), "Closing", "Running", ("CloseAttempt",)
    ),
    "cancel then stops the pod": Case(
        replace(cancelled(STARTED), pods=(running(),), gateway=gateway(metered())), "", "", ("DeletePod",)
    ),
    "cancel ends the run once its pod is going": Case(
        replace(cancelled(STARTED), pods=(running(deleting=True),), gateway=gateway(metered())),
        "Cancelled",
        "Failed",
        ("AttemptEnded", "RunFinished"),
    ),
    "cancel after the pod ended does not count": Case(
        replace(cancelled(STARTED), pods=(ended(0),), gateway=gateway(metered())),
        "Completed",
        "Succeeded",
        ("AttemptEnded", "RunFinished"),
    ),
    "a node that is away is watched until lostSeconds": Case(
        run_view(run(status=STARTED), pods=(running(ready=False),), lost_nodes={"node1": at(20)}),
        "NodeLost",
        "Running",
        due=140,
    ),
    "a node that is away for lostSeconds breaks the attempt and frees the pod without grace": Case(
        run_view(
            run(status=STARTED),
            pods=(running(ready=False),),
            lost_nodes={"node1": at(20)},
            gateway=gateway(metered()),
        ),
        "WaitingForSlot",
        "Queued",
        ("PodLost",),
        now=at(141),
    ),
}

ENDING = {
    "a pod that ended is closed at the gateway before it is judged": Case(
        run_view(run(status=STARTED), pods=(ended(0),)), "Closing", "Running", ("CloseAttempt",)
    ),
    "exit 0 completes the run": Case(
        run_view(run(status=STARTED), pods=(ended(0, message="Paris."),), gateway=gateway(metered())),
        "Completed",
        "Succeeded",
        ("AttemptEnded", "RunFinished"),
    ),
    "exit 0 completes the run although a call failed on the way": Case(
        run_view(run(status=STARTED), pods=(ended(0),), gateway=gateway(metered(failure=Cause.API_TRANSIENT))),
        "Completed",
        "Succeeded",
        ("AttemptEnded", "RunFinished"),
    ),
    "exit 1 fails the run with the agent's own words": Case(
        run_view(run(status=STARTED), pods=(ended(1, message="no such file"),), gateway=gateway(metered())),
        "Failed",
        "Failed",
        ("AttemptEnded", "RunFinished"),
        "the agent exited with 1: no such file",
    ),
    "exit 1 after a failed model call names the call": Case(
        run_view(run(status=STARTED), pods=(ended(1),), gateway=gateway(metered(failure=Cause.MODEL_NOT_FOUND))),
        "PermanentModelError",
        "Failed",
        ("AttemptEnded", "RunFinished"),
        "the last model call failed (ModelNotFound): 404 model not found",
    ),
    "exit 1 after a refused key is AuthFailed": Case(
        run_view(run(status=STARTED), pods=(ended(1),), gateway=gateway(metered(failure=Cause.AUTH_FAILED))),
        "AuthFailed",
        "Failed",
        ("AttemptEnded", "RunFinished"),
    ),
    "too little memory is told apart from failure": Case(
        run_view(run(status=STARTED), pods=(ended(137, reason="OOMKilled"),), gateway=gateway(metered())),
        "OutOfMemory",
        "Failed",
        ("AttemptEnded", "RunFinished"),
        "limits.memory",
    ),
    "an evicted pod is followed by another attempt": Case(
        run_view(
            run(status=STARTED),
            pods=(ended(137, phase="Failed", disruption="EvictionByEvictionAPI"),),
            gateway=gateway(metered()),
        ),
        "WaitingForSlot",
        "Queued",
        ("PodLost",),
    ),
    "a pod that somebody deleted is followed by another attempt": Case(
        run_view(run(status=STARTED), pods=(ended(143, deleting=True),), gateway=gateway(metered())),
        "WaitingForSlot",
        "Queued",
        ("PodLost",),
    ),
    "a recorded pod that is gone was lost: it is closed": Case(
        run_view(run(status=STARTED)), "Closing", "Running", ("CloseAttempt",)
    ),
    "a recorded pod that is gone was lost: the next attempt begins": Case(
        run_view(run(status=STARTED), gateway=gateway(metered())), "WaitingForSlot", "Queued", ("PodLost",)
    ),
    "a pod that called but was never recorded was lost, not never made": Case(
        run_view(run(status=admitted()), gateway=gateway(metered())), "WaitingForSlot", "Queued", ("PodLost",)
    ),
    "the fourth disruption in half an hour ends the run with the last one's reason": Case(
        run_view(
            run(status=STARTED.model_copy(update={"disruptions": (at(0), at(5), at(9)), "disruption_count": 3})),
            gateway=gateway(metered()),
        ),
        "LostPod",
        "Failed",
        ("AttemptEnded", "RunFinished"),
        "the run was disrupted 4 times, 4 of them in the last 30 minutes",
    ),
    "no disruption is forgiven with maxDisruptions 0": Case(
        run_view(run(spec={"retry": {"maxDisruptions": 0}}, status=STARTED), gateway=gateway(metered())),
        "LostPod",
        "Failed",
        ("AttemptEnded", "RunFinished"),
    ),
    "a gateway that is away delays the end": Case(
        run_view(run(status=STARTED), pods=(ended(0),), gateway=gateway(down_since=at(5))),
        "Closing",
        "Running",
        ("CloseAttempt",),
        due=70,
    ),
    "a gateway away for a minute leaves the usage incomplete": Case(
        run_view(run(status=STARTED), pods=(ended(0),), gateway=gateway(down_since=at(5))),
        "Completed",
        "Succeeded",
        ("AttemptEnded", "RunFinished"),
        now=at(70),
    ),
    "an attempt that failed while the gateway was away is a disruption": Case(
        run_view(run(status=STARTED), pods=(ended(1),), gateway=gateway(down_since=at(5))),
        "WaitingForSlot",
        "Queued",
        ("PodLost",),
        now=at(70),
    ),
    "an attempt that failed after a restart of the gateway cut its calls is a disruption": Case(
        run_view(run(status=STARTED), pods=(ended(1),), gateway=gateway(metered(), started=at(9))),
        "WaitingForSlot",
        "Queued",
        ("PodLost",),
    ),
    "an attempt that went on calling after a restart of the gateway fails by itself": Case(
        run_view(run(status=STARTED), pods=(ended(1),), gateway=gateway(metered(), started=at(8))),
        "Failed",
        "Failed",
        ("AttemptEnded", "RunFinished"),
    ),
    "a Direct lane needs no gateway to end": Case(
        run_view(run(status=STARTED), lane=DIRECT, pods=(ended(0),)),
        "Completed",
        "Succeeded",
        ("AttemptEnded", "RunFinished"),
    ),
}

FINISHED = {
    "pods of a finished run stay for podTTLSeconds": Case(
        run_view(run(status=finished()), pods=(ended(0),)), "", "", due=3610
    ),
    "pods of a finished run go after podTTLSeconds": Case(
        run_view(run(status=finished()), pods=(ended(0),)), "", "", ("DeletePod",), now=at(3610)
    ),
    "a finished run with a time to stay is looked at again when that is over": Case(
        run_view(run(spec={"ttlSecondsAfterFinished": 60}, status=finished())), "", "", due=70
    ),
    "it is deleted then, with its pods": Case(
        run_view(run(spec={"ttlSecondsAfterFinished": 20}, status=finished()), pods=(ended(0),)), "", "", ("DeleteRun",)
    ),
    "its pods go first if their time is shorter": Case(
        run_view(run(spec={"ttlSecondsAfterFinished": 60, "podTTLSeconds": 5}, status=finished()), pods=(ended(0),)),
        "",
        "",
        ("DeletePod",),
        due=70,
    ),
    "one that Git keeps is not deleted, for it would run again": Case(
        run_view(run(spec={"ttlSecondsAfterFinished": 0}, status=finished(), keeper="Argo CD (application shop)")),
        "",
        "",
    ),
    "one whose usage the gateway still owes stays until it is known": Case(
        run_view(
            run(spec={"ttlSecondsAfterFinished": 0}, status=finished(Usage(complete=False))),
            gateway=gateway(down_since=at(20)),
        ),
        "",
        "",
    ),
    "a pod that outlives the end of its run is stopped": Case(
        run_view(run(status=finished()), pods=(running(),)), "", "", ("DeletePod",), due=3610
    ),
    "totals that the gateway still owes are asked for once it is back": Case(
        run_view(run(status=finished(Usage(complete=False)))), "", "", ("CloseAttempt",)
    ),
    "nothing is asked for while the gateway is away": Case(
        run_view(run(status=finished(Usage(complete=False))), gateway=gateway(down_since=at(20))), "", ""
    ),
    "a deleted run is left to the garbage collector": Case(run_view(run(deleting=True)), "", ""),
}


def test_an_edit_after_the_end_is_seen_and_changes_nothing_else() -> None:
    """Who waits for a run by its observedGeneration (kstatus, kubectl wait, Argo CD) would wait for ever."""
    over = run(status=finished())
    edited = replace(over, meta=replace(over.meta, generation=2))
    status = decide_run(run_view(edited, pods=(ended(0),)), LATER).status
    assert status.observed_generation == 2
    assert {one.observed_generation for one in status.conditions} == {2}
    unseen = tuple(one.model_copy(update={"observed_generation": 1}) for one in status.conditions)
    assert status.model_copy(update={"observed_generation": 1, "conditions": unseen}) == over.status


TABLE = {**WAITING, **STARTING, **RUNNING, **ENDING, **FINISHED}


@pytest.mark.row("S2.9", "S2.22", "S4.40", "S3.44", "S4.19", "S4.20", "S4.46", "C25", "S4.18", "S4.43", "S0.22")
@pytest.mark.parametrize("case", TABLE.values(), ids=TABLE.keys())
def test_decide_run(case: Case) -> None:
    decision = decide_run(case.view, case.now)
    kinds = tuple(e.reason.value if isinstance(e, PostEvent) else type(e).__name__ for e in decision.effects)
    leftover = len(kinds) - len(case.effects)
    assert kinds[: len(case.effects)] == case.effects
    assert set(kinds[len(case.effects) :]) <= {"DeletePod"} if leftover else True
    if case.reason:
        assert (decision.status.reason, decision.status.phase) == (case.reason, case.phase)
    else:
        assert decision.status == case.view.run.status
    messages = " | ".join(condition.message for condition in decision.status.conditions)
    assert case.says in messages
    if case.due is not None:
        assert decision.due == at(case.due)


def test_decisions_come_to_rest() -> None:
    """Looking again at an unchanged world writes nothing more: silence when nothing changes."""
    for name, case in TABLE.items():
        first = look_again(case, case.view.run.status)
        second = look_again(case, first)
        assert look_again(case, second) == second, name


def look_again(case: Case, status: AgentRunStatus) -> AgentRunStatus:
    return decide_run(replace(case.view, run=replace(case.view.run, status=status)), case.now).status


def test_conditions_keep_their_transition_time_while_their_status_stays() -> None:
    first = decide_run(run_view(place=Place(3, 2, 2)), at(0)).status
    later = decide_run(run_view(run(status=first), place=Place(2, 2, 2)), at(60)).status
    assert times(first.conditions) == times(later.conditions)
    assert later.queue is not None
    assert later.queue.position == 2


def times(conditions: tuple[Condition, ...]) -> list[datetime]:
    return [condition.last_transition_time for condition in conditions]


@pytest.mark.row("S0.16", "S3.32", "S4.32")
def test_a_completed_run_shows_what_the_gateway_metered() -> None:
    view = run_view(run(status=STARTED), pods=(ended(0, message="Paris."),), gateway=gateway(metered()))
    status = decide_run(view, at(30)).status
    assert status.usage == Usage(
        turns=1,
        input_tokens=12,
        output_tokens=7,
        total_tokens=19,
        source="Gateway",
        complete=True,
    )
    assert status.result is not None
    assert (status.result.summary, status.result.exit_code, status.result.finish_reason) == ("Paris.", 0, "stop")
    assert status.completion_time == at(30)
    assert status.attempts[-1].end_time == at(10)


@pytest.mark.parametrize(
    ("shown", "away", "written"),
    [
        pytest.param(None, False, True, id="the first of an attempt is written at once"),
        pytest.param(0, False, False, id="later ones wait for 15 s of activity"),
        pytest.param(-6, False, True, id="which is over"),
        pytest.param(0, True, True, id="unless the gateway goes away: it may come back with a new ledger"),
        pytest.param(9, True, False, id="and there is something new"),
    ],
)
def test_when_the_usage_of_a_running_attempt_is_written(shown: int | None, away: bool, written: bool) -> None:
    seen = None if shown is None else at(shown)
    running = pod(phase="Running", started=at(2))
    told = gateway(metered(closed=False), known=True, down_since=at(20) if away else None)
    before = STARTED.model_copy(update={"last_activity_time": seen})
    status = decide_run(run_view(run(status=before), pods=(running,), gateway=told), at(21)).status
    assert (status.usage is not None) is written


@pytest.mark.row("S0.23", "S4.34")
def test_a_direct_run_shows_what_its_agent_reported() -> None:
    envelope = EnvelopeSummary(
        finished=True,
        result_text="Paris.",
        num_turns=1,
        usage=EnvelopeUsage(input_tokens=20, output_tokens=8),
        usage_is_total=True,
    )
    view = run_view(run(status=STARTED), lane=DIRECT, pods=(ended(0),), envelope=envelope)
    status = decide_run(view, at(30)).status
    assert status.usage is not None
    assert (status.usage.input_tokens, status.usage.output_tokens, status.usage.source) == (20, 8, "Envelope")
    assert status.usage.cost_usd is None
    assert status.result is not None
    assert status.result.summary == "Paris."


@pytest.mark.row("C21", "B22")
def test_usage_is_summed_over_attempts_and_never_lowered() -> None:
    lost = run_view(run(status=STARTED), gateway=gateway(metered()))
    after_first = decide_run(lost, at(30)).status
    second = after_first.model_copy(
        update={
            "attempt": 2,
            "attempts": (*after_first.attempts, attempt(2, pod_uid="p2", start_time=at(40))),
            "conditions": STARTED.conditions,
        }
    )
    view = run_view(
        run(status=second), pods=(ended(0, attempt=2),), gateway=gateway(metered(number=2, input_tokens=100))
    )
    status = decide_run(view, at(60)).status
    assert status.usage is not None
    assert (status.usage.turns, status.usage.input_tokens, status.usage.output_tokens) == (2, 112, 14)


def test_totals_that_come_late_replace_what_was_unknown() -> None:
    away = run_view(run(status=STARTED), pods=(ended(0),), gateway=gateway(down_since=at(5)))
    ended_without = decide_run(away, at(70)).status
    assert ended_without.usage is not None
    assert ended_without.usage.complete is False
    back = run_view(run(status=ended_without), pods=(ended(0),), gateway=gateway(metered()))
    corrected = decide_run(back, at(90)).status
    assert corrected.usage is not None
    assert (corrected.usage.input_tokens, corrected.usage.complete) == (12, True)


@pytest.mark.row("S2.21", "S2.22")
def test_a_run_that_waited_too_long_had_no_pod_and_no_tokens() -> None:
    status = decide_run(run_view(impatient(at(0)), place=Place(1, 2, 2)), at(61)).status
    assert (status.attempt, status.attempts, status.usage, status.queue) == (None, (), None, None)
    assert status.completion_time == at(61)


def test_the_wait_for_a_slot_is_shown_from_its_beginning_and_counted_anew_after_another_wait() -> None:
    first = decide_run(run_view(place=Place(2, 2, 2)), at(5)).status
    later = decide_run(run_view(run(status=first), place=Place(1, 2, 2)), at(9)).status
    away = run_view(run(status=later), lane=lane(conditions=(ready("False"),)))
    blocked = decide_run(away, at(20)).status
    back = decide_run(run_view(run(status=blocked), place=Place(1, 2, 2)), at(30)).status
    assert [status.queue and status.queue.since for status in (first, later, blocked, back)] == [
        at(5),
        at(5),
        None,
        at(30),
    ]


def test_a_prompt_never_appears_in_status_or_events() -> None:
    for case in TABLE.values():
        decision = decide_run(case.view, case.now)
        events = [e.message for e in decision.effects if isinstance(e, PostEvent)]
        assert "capital of France" not in f"{decision.status.to_wire()} {events}"


def test_effects_name_the_attempt_they_are_for() -> None:
    decision = decide_run(run_view(run(status=admitted(3))), NOW)
    prompt, made = decision.effects
    assert isinstance(prompt, EnsureConfigMap)
    assert isinstance(made, CreatePod)
    assert (made.run_uid, made.attempt) == ("hello-0123456789", 3)
    kept = decide_run(run_view(run(spec=KEEPS, status=admitted(3))), NOW).effects[1]
    assert isinstance(kept, EnsureClaim)
    assert kept.manifest["metadata"]["name"] == "hello-hello-01"
    close = decide_run(run_view(run(status=STARTED), pods=(ended(0),)), NOW).effects[0]
    assert close == CloseAttempt("hello-0123456789", 1)
    stop = decide_run(run_view(run(status=finished()), pods=(running(),)), NOW).effects[0]
    assert stop == DeletePod("team-a", "hello-hello-01-1", "pod-uid", 15)
