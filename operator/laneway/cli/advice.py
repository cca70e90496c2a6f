"""What each reason means to the person who asks, and what that person can do. Pure.

``{run}``, ``{lane}`` and ``{n}`` stand for the names of the run and its lane, and for the flag that names the run's namespace.
"""

from __future__ import annotations

from dataclasses import dataclass

from laneway.api.reasons import End, Waiting

_SPEC = "before the first attempt the whole spec may change"
_AGAIN = "kubectl laneway retry {run}{n}"


@dataclass(frozen=True)
class Wait:
    """One reason to wait."""

    what: str
    """Goes on after the run's name."""
    todo: str
    """What a person can do, in a sentence."""


WAITS: dict[Waiting, Wait] = {
    Waiting.WAITING_FOR_SLOT: Wait(
        "waits for a slot",
        "To start sooner: raise spec.capacity.runs of lane {lane}, raise spec.priority to go before your caller's other runs,"
        " or add a step to spec.models.",
    ),
    Waiting.LANE_NOT_FOUND: Wait(
        "waits for a lane that does not exist", f"Correct spec.models ({_SPEC}), or create the lane."
    ),
    Waiting.LANE_NOT_READY: Wait(
        "waits for its lane to be ready",
        "See what ails the lane with: kubectl describe modellane; the run begins by itself once the lane is ready.",
    ),
    Waiting.LANE_SUSPENDED: Wait(
        "waits because its lane is suspended", "Set spec.suspend of lane {lane} to false, or add a step to spec.models."
    ),
    Waiting.MODEL_NOT_FOUND: Wait(
        "waits for a model that its lane does not have",
        f"Correct spec.models ({_SPEC}), add the model to lane {{lane}}, or load it on the server.",
    ),
    Waiting.NAMESPACE_NOT_ALLOWED: Wait(
        "may not use its lane from this namespace",
        "The lane's owner can set spec.allowedNamespaces.from to All; or name a lane of your own namespace.",
    ),
    Waiting.PRESET_NOT_FOUND: Wait(
        "names a preset that does not exist",
        f"Correct spec.agent.preset ({_SPEC}), or add the preset with the chart's value presets.",
    ),
    Waiting.IMAGE_NOT_SET: Wait(
        "has no image for its agent",
        f"Set spec.agent.image ({_SPEC}), or give the preset an image with the chart's value presets.",
    ),
    Waiting.QUOTA_EXCEEDED: Wait(
        "waits for room in the ResourceQuota of its namespace",
        "Raise the quota or lower spec.agent.resources; it is tried again every 30 s.",
    ),
    Waiting.NAME_TAKEN: Wait(
        "waits because an object that is not its own has a name that it needs",
        "Delete or rename that object; it is tried again every 30 s.",
    ),
    Waiting.WORKSPACE_IN_USE: Wait(
        "waits for a pod of an earlier attempt to leave its workspace",
        "Wait; if the pod's node is known to be off, delete the pod with: kubectl delete pod --force",
    ),
    Waiting.SUSPENDED: Wait("waits because it is suspended", "To let it go on: kubectl laneway resume {run}{n}"),
    Waiting.WAITING_FOR_DEPENDENCY: Wait(
        "waits for another run to succeed", f"Wait, create that run, or correct spec.dependsOn: {_SPEC}."
    ),
    Waiting.NOT_BEFORE: Wait("waits for its time", "To begin sooner change spec.notBeforeTime."),
    Waiting.BACKING_OFF: Wait(
        "waits for its model, without pod and slot",
        "If you know that the model is well again: kubectl laneway cooldown clear {lane}{lane_n}",
    ),
    Waiting.ALL_MODELS_COOLING: Wait(
        "waits because none of its models can be used now",
        "If you know that a model is well again, or to let go of one that is held: kubectl laneway cooldown clear {lane}{lane_n}",
    ),
    Waiting.WIRE_API_UNSUPPORTED: Wait(
        "names a lane that does not speak its agent's protocol",
        f"Name another lane or another agent: {_SPEC}.",
    ),
    Waiting.PRICE_UNKNOWN: Wait(
        "has a limit of money, and its lane names no price for the model",
        'Add pricing to the model in lane {lane} ("0" if it is free), or take spec.limits.costUSD away.',
    ),
    Waiting.LIMIT_PAUSED: Wait(
        "is paused at a limit", "Raise or remove that limit in spec.limits, and the run goes on by itself."
    ),
    Waiting.SPEND_REACHED: Wait(
        "waits because its namespace has spent what the lane allows it",
        "Wait for the period to end; or the owner of lane {lane} raises limitUSD in spec.spend.",
    ),
    Waiting.WAITING_FOR_RETRY: Wait(
        "waits before its failed task is tried again", "To give up instead: kubectl laneway cancel {run}{n}"
    ),
    Waiting.WAITING_FOR_ROUND: Wait(
        "waits between two rounds", "To hold it between two rounds: kubectl laneway suspend {run}{n}"
    ),
    Waiting.WAITING_FOR_CLASSIFICATION: Wait(
        "waits for its lane to choose a model",
        "That takes 30 s at most; if it lasts, see whether the gateway is well. A model in spec.models needs no choice.",
    ),
}

_CALLS = "Read its log with: kubectl logs {pod}{n}; then: " + _AGAIN

ENDS: dict[End, str] = {
    End.COMPLETED: "Its answer: kubectl get agentrun {run}{n} -o jsonpath='{{.status.result.summary}}'",
    End.FAILED: _CALLS,
    End.NO_OUTPUT: "Look at its arguments, its key and its log (kubectl logs {pod}{n}); then: " + _AGAIN,
    End.CANCELLED: "To run it after all: " + _AGAIN,
    End.AUTH_FAILED: "Mend the key of lane {lane}, or whom the lane allows; then: " + _AGAIN,
    End.PERMANENT_MODEL_ERROR: "Correct the lane, the model or the prompt, by what the message says; the same again ends the same.",
    End.START_TIMEOUT: "Mend what kept it, or raise spec.timeouts.startSeconds in a new run; then: " + _AGAIN,
    End.ATTEMPT_TIMEOUT: "Give a new run more spec.timeouts.attemptSeconds, or none; its log: kubectl logs {pod}{n}",
    End.IDLE_TIMEOUT: "Read its log (kubectl logs {pod}{n}): a tool that waits for input is the usual cause."
    " Agents that work long without a word want a higher spec.timeouts.idleSeconds.",
    End.IMAGE_UNAVAILABLE: "Correct spec.agent.image in a new run, or name spec.agent.pod.imagePullSecrets.",
    End.OUT_OF_MEMORY: "Raise spec.agent.resources.limits.memory in a new run.",
    End.POD_REJECTED: "Change the run or the policy that refused its pod; then: " + _AGAIN,
    End.PROMPT_MISSING: "Create the ConfigMap or key of spec.promptFrom; then: " + _AGAIN,
    End.EVICTED: "Look at the pressure on its node, or raise its requests; then: " + _AGAIN,
    End.LOST_POD: "Look at what happened to its pods and nodes; then: " + _AGAIN,
    End.GATEWAY_UNAVAILABLE: "See whether the gateway is well; then: " + _AGAIN,
    End.QUEUE_TIMEOUT: "Wait longer (spec.timeouts.queueSeconds), use another lane, or raise spec.capacity.runs of lane {lane};"
    " the same again: " + _AGAIN,
    End.DEPENDENCY_FAILED: "Mend that run and make it anew; then: " + _AGAIN,
    End.CHAIN_EXHAUSTED: "Every step of spec.models was refused for good; correct them in a new run.",
    End.TRANSIENT_STOP: "It asked to stop at such trouble (spec.onTransientError); when the model is well: " + _AGAIN,
    End.BUDGET_REACHED: "Give a new run a higher spec.limits.costUSD, or onReached: Pause.",
    End.TOKENS_REACHED: "Give a new run a higher spec.limits.tokens, or onReached: Pause.",
    End.TURNS_REACHED: "Give a new run a higher spec.limits.turns, or onReached: Pause.",
    End.TIME_REACHED: "Give a new run a higher spec.limits.activeSeconds, or onReached: Pause.",
}
