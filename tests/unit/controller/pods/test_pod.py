"""The pod of an attempt: what an agent finds, and what it cannot do."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from laneway.api.reasons import Cause, Outcome
from laneway.api.runstatus import AgentRunStatus, Attempt
from laneway.controller.facts.objects import Lane
from laneway.controller.facts.views import Surroundings
from laneway.controller.pods.children import build_prompt
from laneway.controller.pods.pod import Plan, build_pod
from support.builders import PRESETS, SURROUNDINGS, attempt, lane, run


def build(
    spec: dict[str, Any] | None = None,
    *,
    the_lane: Lane | None = None,
    preset: str = "laneway",
    surroundings: Surroundings = SURROUNDINGS,
) -> dict[str, Any]:
    agent = {**((spec or {}).get("agent") or {}), "preset": preset}
    return build_pod(
        Plan(
            run=run(spec={**(spec or {}), "agent": agent}),
            lane=the_lane or lane(),
            preset=PRESETS[preset],
            attempt=attempt(2),
            surroundings=surroundings,
        )
    )


def environment(pod: dict[str, Any]) -> dict[str, str]:
    return {entry["name"]: entry.get("value", "") for entry in pod["spec"]["containers"][0]["env"]}


def test_the_same_attempt_gives_the_same_bytes() -> None:
    assert json.dumps(build()) == json.dumps(build())


def test_name_labels_and_owner_tell_whose_it_is() -> None:
    meta = build()["metadata"]
    assert meta["name"] == "hello-hello-01-2"
    assert meta["labels"] == {
        "laneway.dev/run": "hello",
        "laneway.dev/run-uid": "hello-0123456789",
        "laneway.dev/attempt": "2",
        "laneway.dev/lane": "local",
        "laneway.dev/lane-namespace": "team-a",
        "app.kubernetes.io/managed-by": "laneway",
    }
    (owner,) = meta["ownerReferences"]
    assert (owner["uid"], owner["controller"], owner["blockOwnerDeletion"]) == ("hello-0123456789", True, False)


def test_every_container_is_restricted_and_has_no_api_token() -> None:
    pod = build({"agent": {"pod": {"initContainers": [{"name": "clone", "image": "git"}]}}})
    spec = pod["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False
    assert spec["restartPolicy"] == "Never"
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in spec["initContainers"] + spec["containers"]:
        assert container["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


@pytest.mark.row("S1.13", "S0.11")
def test_an_agent_on_a_gateway_lane_finds_the_gateway_in_every_clients_names() -> None:
    found = environment(build())
    root, token = SURROUNDINGS.gateway_url, SURROUNDINGS.token
    assert {found[name] for name in ("OPENAI_BASE_URL", "OPENAI_API_BASE", "LLM_BASE_URL")} == {f"{root}/v1"}
    assert {
        found[name]
        for name in (
            "ANTHROPIC_BASE_URL",
            "OLLAMA_HOST",
            "OLLAMA_API_BASE",
            "GOOGLE_GEMINI_BASE_URL",
            "LANEWAY_GATEWAY_URL",
        )
    } == {root}
    keys = ("OPENAI_API_KEY", "ANTHROPIC_AUTH_TOKEN", "GEMINI_API_KEY", "LLM_API_KEY", "LANEWAY_TOKEN")
    assert {found[name] for name in keys} == {token}
    assert {found[name] for name in ("LANEWAY_MODEL", "OPENAI_MODEL", "ANTHROPIC_MODEL")} == {"smollm2"}
    assert (found["LANEWAY_RUN"], found["LANEWAY_NAMESPACE"], found["LANEWAY_ATTEMPT"]) == ("hello", "team-a", "2")
    assert (found["LANEWAY_PROMPT_FILE"], found["LANEWAY_WORKSPACE"], found["HOME"]) == (
        "/laneway/prompt",
        "/workspace",
        "/workspace",
    )


def test_an_agent_on_a_direct_lane_finds_the_server_and_no_token() -> None:
    pod = build(the_lane=lane(namespace="models", spec={"access": "Direct"}))
    found = environment(pod)
    assert found["OPENAI_BASE_URL"] == "http://ollama.models.svc:11434/v1"
    assert found["OLLAMA_HOST"] == "http://ollama.models.svc:11434"
    assert SURROUNDINGS.token not in json.dumps(pod)
    assert not {"LANEWAY_TOKEN", "GEMINI_API_KEY", "OPENAI_API_KEY"} & set(found)


def test_an_agent_is_told_where_its_spans_belong_only_where_there_are_traces() -> None:
    assert "TRACEPARENT" not in environment(build())
    traced = replace(SURROUNDINGS, traceparent="00-trace-span-01")
    assert environment(build(surroundings=traced))["TRACEPARENT"] == "00-trace-span-01"
    own = {"agent": {"env": [{"name": "TRACEPARENT", "value": "00-own-own-01"}]}}
    assert environment(build(own, surroundings=traced))["TRACEPARENT"] == "00-own-own-01"


def test_a_users_variable_wins_over_client_names_only() -> None:
    env = [
        {"name": "OPENAI_BASE_URL", "value": "http://other/v1"},
        {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
    ]
    pod = build({"agent": {"env": env}})
    assert environment(pod)["OPENAI_BASE_URL"] == "http://other/v1"
    assert {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}} in pod["spec"]["containers"][0][
        "env"
    ]
    assert environment(pod)["LANEWAY_MODEL"] == "smollm2"


def test_our_own_labels_cannot_be_overridden() -> None:
    pod = build({"agent": {"pod": {"labels": {"laneway.dev/lane": "stolen", "team": "a"}}}})
    assert pod["metadata"]["labels"]["laneway.dev/lane"] == "local"
    assert pod["metadata"]["labels"]["team"] == "a"


def test_the_prompt_is_a_file_outside_the_workspace_and_nowhere_else() -> None:
    pod = build()
    assert "capital of France" not in json.dumps(pod)
    volume = next(v for v in pod["spec"]["volumes"] if v["name"] == "laneway-prompt")
    assert volume["configMap"] == {
        "name": "hello-hello-01-prompt",
        "defaultMode": 0o444,
        "items": [{"key": "prompt", "path": "prompt"}],
    }
    prompt = build_prompt(run())
    assert prompt["data"] == {"prompt": "What is the capital of France?"}
    assert prompt["immutable"] is True
    assert prompt["metadata"]["ownerReferences"][0]["uid"] == "hello-0123456789"


def after(*earlier: Attempt, number: int = 2, **status: Any) -> dict[str, Any]:
    """The pod of an attempt that others came before."""
    current = attempt(number)
    the_run = run(status=AgentRunStatus(attempt=number, attempts=(*earlier, current), **status))
    plan = Plan(run=the_run, lane=lane(), preset=PRESETS["laneway"], attempt=current, surroundings=SURROUNDINGS)
    return build_pod(plan)


@pytest.mark.row("S4.42")
@pytest.mark.parametrize(
    ("before", "said"),
    [
        pytest.param(
            {"outcome": Outcome.FAILED, "cause": Cause.TASK_FAILURE, "message": 'exited with 2: "é"'},
            {"attempt": 1, "outcome": "Failed", "class": "TaskFailure", "message": 'exited with 2: "é"'},
            id="a task that failed",
        ),
        pytest.param(
            {"outcome": Outcome.DISRUPTED, "message": "the pod was evicted"},
            {"attempt": 1, "outcome": "Disrupted", "message": "the pod was evicted"},
            id="a disruption has no class",
        ),
    ],
)
def test_an_attempt_finds_how_the_one_before_it_failed(before: dict[str, Any], said: dict[str, Any]) -> None:
    pod = after(attempt(1, **before))
    [volume] = [one for one in pod["spec"]["volumes"] if one["name"] == "laneway-prompt"]
    prompt, error = volume["projected"]["sources"]
    assert prompt["configMap"]["items"] == [{"key": "prompt", "path": "prompt"}]
    [item] = error["downwardAPI"]["items"]
    assert environment(pod)["LANEWAY_LAST_ERROR_FILE"] == f"/laneway/{item['path']}"
    key = item["fieldRef"]["fieldPath"].removeprefix("metadata.annotations['").removesuffix("']")
    assert json.loads(pod["metadata"]["annotations"][key]) == said
    assert volume["projected"]["defaultMode"] == 0o444


@pytest.mark.parametrize(
    "earlier",
    [
        pytest.param([], id="a first attempt"),
        pytest.param([attempt(1, outcome=Outcome.SUCCEEDED)], id="after a good round"),
    ],
)
def test_without_an_error_before_it_an_attempt_finds_none(earlier: list[Attempt]) -> None:
    pod = after(*earlier)
    assert "LANEWAY_LAST_ERROR_FILE" not in environment(pod)
    assert "last-error" not in json.dumps(pod)


def test_an_error_older_than_the_attempt_before_is_not_told() -> None:
    failed = attempt(1, outcome=Outcome.FAILED, message="old")
    pod = after(failed, attempt(2, outcome=Outcome.SUCCEEDED), number=3)
    assert "LANEWAY_LAST_ERROR_FILE" not in environment(pod)


def test_the_longest_error_leaves_room_for_other_annotations() -> None:
    longest = attempt(1, outcome=Outcome.FAILED, message="\x01" * 1024)
    annotations = after(longest)["metadata"]["annotations"]
    assert max(len(value.encode()) for value in annotations.values()) < 8 * 1024


@pytest.mark.row("S3.29")
@pytest.mark.parametrize(("number", "shown"), [(None, "1"), (4, "4")], ids=["the only round", "the fourth"])
def test_an_agent_is_told_its_round(number: int | None, shown: str) -> None:
    assert environment(after(round=number))["LANEWAY_ROUND"] == shown


def test_a_prompt_kept_elsewhere_is_mounted_from_there() -> None:
    pod = build({"prompt": None, "promptFrom": {"configMapKeyRef": {"name": "prompts", "key": "first"}}})
    volume = next(v for v in pod["spec"]["volumes"] if v["name"] == "laneway-prompt")
    assert (volume["configMap"]["name"], volume["configMap"]["items"][0]["key"]) == ("prompts", "first")


def workspace_of(pod: dict[str, Any]) -> dict[str, Any]:
    """The volume that is mounted at LANEWAY_WORKSPACE."""
    container = pod["spec"]["containers"][0]
    path = environment(pod)["LANEWAY_WORKSPACE"]
    [mount] = [mount for mount in container["volumeMounts"] if mount["mountPath"] == path]
    assert "readOnly" not in mount
    [volume] = [volume for volume in pod["spec"]["volumes"] if volume["name"] == mount["name"]]
    return {key: source for key, source in volume.items() if key != "name"}


def test_without_a_claim_each_attempt_begins_with_an_empty_workspace() -> None:
    pod = build()
    assert workspace_of(pod) == {"emptyDir": {}}
    assert "fsGroupChangePolicy" not in pod["spec"]["securityContext"]


@pytest.mark.parametrize(
    ("options", "group"),
    [
        pytest.param({}, 65532, id="the default user may write"),
        pytest.param({"securityContext": {"runAsUser": 1000}}, 1000, id="a chosen user may write"),
        pytest.param({"securityContext": {"runAsUser": 1000, "fsGroup": 2000}}, 2000, id="a chosen group may write"),
    ],
)
def test_a_workspace_is_the_runs_claim_and_its_group_may_write(options: dict[str, Any], group: int) -> None:
    pod = build({"agent": {"workspace": {"size": "10Gi"}, "pod": options}})
    assert workspace_of(pod) == {"persistentVolumeClaim": {"claimName": "hello-hello-01"}}
    security = pod["spec"]["securityContext"]
    assert (security["fsGroup"], security["fsGroupChangePolicy"]) == (group, "OnRootMismatch")
    assert security["runAsNonRoot"] is True


def test_the_built_in_agent_runs_in_the_operators_own_image() -> None:
    container = build({"agent": {"parameters": {"temperature": "0", "maxTokens": 32}}})["spec"]["containers"][0]
    assert (container["image"], container["args"]) == ("laneway:test", ["agent"])
    found = {entry["name"]: entry.get("value") for entry in container["env"]}
    assert found["LANEWAY_PARAMETERS"] == '{"maxTokens": 32, "temperature": "0"}'
    assert container["resources"]["limits"] == {"memory": "256Mi"}


def test_what_a_run_says_of_its_agent_wins_over_the_preset() -> None:
    agent = {"image": "mine:1", "command": ["sh"], "args": ["-c", "true"], "resources": {"limits": {"cpu": "1"}}}
    container = build({"agent": agent}, preset="generic")["spec"]["containers"][0]
    assert (container["image"], container["command"], container["args"]) == ("mine:1", ["sh"], ["-c", "true"])
    assert container["resources"] == {"limits": {"cpu": "1"}}


def test_the_closed_list_of_pod_options_reaches_the_pod() -> None:
    options = {
        "nodeSelector": {"gpu": "yes"},
        "tolerations": [{"key": "gpu", "operator": "Exists"}],
        "affinity": {"podAntiAffinity": {}},
        "runtimeClassName": "gvisor",
        "serviceAccountName": "agent",
        "imagePullSecrets": [{"name": "pull"}],
        "securityContext": {"runAsUser": 1000, "fsGroup": 2000},
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "c"}}],
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    }
    spec = build({"agent": {"pod": options}})["spec"]
    for key in (
        "nodeSelector",
        "tolerations",
        "affinity",
        "runtimeClassName",
        "serviceAccountName",
        "imagePullSecrets",
    ):
        assert spec[key] == options[key], key
    assert (spec["securityContext"]["runAsUser"], spec["securityContext"]["fsGroup"]) == (1000, 2000)
    assert spec["volumes"][-1]["persistentVolumeClaim"]["claimName"] == "c"
    assert spec["containers"][0]["volumeMounts"][-1]["mountPath"] == "/data"
