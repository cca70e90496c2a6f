"""The pod of an attempt, built purely: the same run and attempt give the same bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from laneway.api import names
from laneway.api.podoptions import PodOptions
from laneway.api.runstatus import Attempt
from laneway.controller.facts.access import is_direct
from laneway.controller.facts.objects import Lane, Run
from laneway.controller.facts.presets import Preset
from laneway.controller.facts.views import Surroundings
from laneway.controller.pods.children import PROMPT_KEY, claim_name, owner_reference, prompt_name, run_labels
from laneway.controller.pods.files import Files, annotations_of, files_of, mounts_of, volumes_of
from laneway.controller.pods.lasterror import last_error
from laneway.rules import endpoint

PROMPT_FOLDER = "/laneway"
PROMPT_FILE = f"{PROMPT_FOLDER}/prompt"
LAST_ERROR_KEY = "last-error"
WORKSPACE = "/workspace"
_GRACE_SECONDS = 15
_DEFAULT_USER = 65532


@dataclass(frozen=True)
class Plan:
    """One pod to build."""

    run: Run
    lane: Lane
    preset: Preset
    attempt: Attempt
    surroundings: Surroundings


def build_pod(plan: Plan) -> dict[str, Any]:
    """The pod of an attempt: Pod Security restricted, no API token, our keys over the user's."""
    run, options = plan.run, plan.run.spec.agent.pod or PodOptions()
    error, environment = last_error(run, plan.attempt), _environment(plan)
    mounts = _as_list(options.to_wire().get("volumeMounts"))
    files = files_of(plan.preset.files, environment, mounts)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": names.pod_name(run=run.meta.name, uid=run.meta.uid, attempt=plan.attempt.id),
            "namespace": run.meta.namespace,
            "labels": {**(options.labels or {}), **pod_labels(plan)},
            "annotations": {
                **(options.annotations or {}),
                "kubectl.kubernetes.io/default-container": names.AGENT_CONTAINER,
                **({names.LAST_ERROR_ANNOTATION: error} if error else {}),
                **annotations_of(files),
            },
            "ownerReferences": [owner_reference(run)],
        },
        "spec": _pod_spec(plan, options, environment, files),
    }


def pod_labels(plan: Plan) -> dict[str, str]:
    """Labels by which a pod is found again, and its slot counted."""
    return {
        **run_labels(plan.run),
        names.ATTEMPT_LABEL: str(plan.attempt.id),
        names.LANE_LABEL: plan.attempt.step.lane,
        names.LANE_NAMESPACE_LABEL: plan.attempt.step.namespace,
    }


def _pod_spec(plan: Plan, options: PodOptions, environment: list[dict[str, Any]], files: Files) -> dict[str, Any]:
    wire = options.to_wire()
    chosen = (
        "nodeSelector",
        "tolerations",
        "affinity",
        "topologySpreadConstraints",
        "runtimeClassName",
        "priorityClassName",
        "schedulerName",
        "serviceAccountName",
        "imagePullSecrets",
    )
    return {
        **{key: wire[key] for key in chosen if key in wire},
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": _GRACE_SECONDS,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": _pod_security(plan.run, options),
        "initContainers": [_restricted(container) for container in _as_list(wire.get("initContainers"))],
        "containers": [_agent_container(plan, wire, environment, files)],
        "volumes": [*_own_volumes(plan), *volumes_of(files), *_as_list(wire.get("volumes"))],
    }


def _pod_security(run: Run, options: PodOptions) -> dict[str, Any]:
    chosen = options.security_context
    user = chosen.run_as_user if chosen and chosen.run_as_user else _DEFAULT_USER
    security = {
        "runAsNonRoot": True,
        "runAsUser": user,
        "runAsGroup": user,
        "fsGroup": chosen.fs_group if chosen and chosen.fs_group else user,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    if claim_name(run) is None:
        return security
    # A workspace that an earlier attempt has filled is given to the group by its root folder, not file by file again.
    return {**security, "fsGroupChangePolicy": "OnRootMismatch"}


def _agent_container(
    plan: Plan, options: Mapping[str, Any], environment: list[dict[str, Any]], files: Files
) -> dict[str, Any]:
    agent, preset = plan.run.spec.agent, plan.preset
    image = agent.image or preset.image or (plan.surroundings.agent_image if preset.own_image else None)
    resources = agent.resources or preset.resources
    command = agent.command if agent.command is not None else preset.command
    args = agent.args if agent.args is not None else preset.args
    container: dict[str, Any] = {
        "name": names.AGENT_CONTAINER,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "workingDir": WORKSPACE,
        "env": environment,
        "terminationMessagePolicy": "File",
        "volumeMounts": [
            {"name": "laneway-prompt", "mountPath": PROMPT_FOLDER, "readOnly": True},
            {"name": "laneway-workspace", "mountPath": WORKSPACE},
            {"name": "laneway-tmp", "mountPath": "/tmp"},  # noqa: S108 - a path in the pod, an emptyDir of its own
            *mounts_of(files),
            *_as_list(options.get("volumeMounts")),
        ],
    }
    if command is not None:
        container["command"] = list(command)
    if args is not None:
        container["args"] = list(args)
    if resources is not None:
        container["resources"] = resources.to_wire()
    return _restricted(container, **({"readOnlyRootFilesystem": True} if preset.read_only_root_filesystem else {}))


def _restricted(container: dict[str, Any], **more: bool) -> dict[str, Any]:
    security = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, **more}
    return {**container, "securityContext": security}


def _own_volumes(plan: Plan) -> list[dict[str, Any]]:
    claim = claim_name(plan.run)
    workspace: dict[str, Any] = {"persistentVolumeClaim": {"claimName": claim}} if claim else {"emptyDir": {}}
    return [
        {"name": "laneway-prompt", **_prompt_volume(plan)},
        {"name": "laneway-workspace", **workspace},
        {"name": "laneway-tmp", "emptyDir": {}},
    ]


def _prompt_volume(plan: Plan) -> dict[str, Any]:
    """The prompt, and beside it how the attempt before failed, if it did."""
    run = plan.run
    if run.spec.prompt_from is not None:
        ref = run.spec.prompt_from.config_map_key_ref
        name, key = ref.name, ref.key
    else:
        name, key = prompt_name(run), PROMPT_KEY
    prompt: dict[str, Any] = {"name": name, "items": [{"key": key, "path": PROMPT_KEY}]}
    if last_error(run, plan.attempt) is None:
        return {"configMap": {**prompt, "defaultMode": 0o444}}
    said = {"path": LAST_ERROR_KEY, "fieldRef": {"fieldPath": f"metadata.annotations['{names.LAST_ERROR_ANNOTATION}']"}}
    return {"projected": {"defaultMode": 0o444, "sources": [{"configMap": prompt}, {"downwardAPI": {"items": [said]}}]}}


def _environment(plan: Plan) -> list[dict[str, Any]]:
    """Names that clients read, then the preset's and the user's (these win), then LANEWAY_* (which always wins)."""
    run = plan.run
    ours = {
        "LANEWAY_RUN": run.meta.name,
        "LANEWAY_NAMESPACE": run.meta.namespace,
        "LANEWAY_ATTEMPT": str(plan.attempt.id),
        "LANEWAY_ROUND": str(run.status.round or 1),
        "LANEWAY_PROMPT_FILE": PROMPT_FILE,
        "LANEWAY_WORKSPACE": WORKSPACE,
        "LANEWAY_MODEL": plan.attempt.step.model,
        "LANEWAY_MAX_TURNS": str(run.spec.limits.turns),
        "LANEWAY_PARAMETERS": _parameters(run),
    }
    if last_error(run, plan.attempt):
        ours["LANEWAY_LAST_ERROR_FILE"] = f"{PROMPT_FOLDER}/{LAST_ERROR_KEY}"
    if not is_direct(plan.attempt, plan.lane.spec):
        ours |= {"LANEWAY_GATEWAY_URL": plan.surroundings.gateway_url, "LANEWAY_TOKEN": plan.surroundings.token}
    entries: dict[str, dict[str, Any]] = {}
    parent = plan.surroundings.traceparent
    traced = {} if parent is None else {"TRACEPARENT": parent}
    defaults = {"HOME": WORKSPACE, **client_variables(plan), **traced, **plan.preset.env}
    for name, value in defaults.items():
        entries[name] = {"name": name, "value": value}
    for variable in run.spec.agent.env or ():
        entries[variable.name] = variable.to_wire()
    for name, value in ours.items():
        entries[name] = {"name": name, "value": value}
    return list(entries.values())


def client_variables(plan: Plan) -> dict[str, str]:
    """Where and as whom to call, in the names that OpenAI, Anthropic, Ollama, Gemini and LiteLLM clients read.

    On a Direct lane they name the server, and the key is the run's own business.
    """
    model = plan.attempt.step.model
    direct = is_direct(plan.attempt, plan.lane.spec)
    lane = plan.lane
    root = (
        endpoint.root_url(lane.spec.endpoint, lane_namespace=lane.meta.namespace)
        if direct
        else plan.surroundings.gateway_url
    )
    variables = {
        "OPENAI_MODEL": model,
        "ANTHROPIC_MODEL": model,
        "OPENAI_BASE_URL": f"{root}/v1",
        "OPENAI_API_BASE": f"{root}/v1",
        "ANTHROPIC_BASE_URL": root,
        "OLLAMA_HOST": root,
        "OLLAMA_API_BASE": root,
        "GOOGLE_GEMINI_BASE_URL": root,
        "LLM_BASE_URL": f"{root}/v1",
    }
    keys = ("OPENAI_API_KEY", "ANTHROPIC_AUTH_TOKEN", "GEMINI_API_KEY", "LLM_API_KEY")
    return variables if direct else {**variables, **dict.fromkeys(keys, plan.surroundings.token)}


def _parameters(run: Run) -> str:
    parameters = run.spec.agent.parameters
    return json.dumps(parameters.to_wire() if parameters else {}, sort_keys=True)


def _as_list(items: object) -> list[dict[str, Any]]:
    return list(items) if isinstance(items, (list, tuple)) else []
