"""What people see of the two kinds through a real API server: strict decoding, defaults, columns, field selectors."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from laneway.api import crds
from laneway.kube.client import Kube
from laneway.kube.connection import Connection
from laneway.kube.errors import Invalid
from laneway.kube.resources import AGENT_RUNS, MODEL_LANES, Resource
from manifests import UNSEEN, Manifest, lane, merged, run

ROOT = Path(__file__).parents[2]
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
NOW = "2026-03-01T12:00:00Z"


async def run_kubectl(*arguments: str, stdin: Manifest | None = None) -> tuple[int, str]:
    """Exit code and all that kubectl said."""
    process = await asyncio.create_subprocess_exec(
        "kubectl",
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate(json.dumps(stdin).encode() if stdin else None)
    code = await process.wait()
    return code, said.decode()


@pytest.fixture
async def connection(cluster: object) -> AsyncIterator[Connection]:
    """A bare connection, for what the client of the operator has no need of."""
    opened = await Connection.open(kubeconfig=os.environ["KUBECONFIG"])
    yield opened
    await opened.close()


async def read(connection: Connection, path: str, *, accept: str = "application/json") -> Any:
    answer = await connection.request("GET", path, limit=aiohttp.ClientTimeout(total=10), accept=accept)
    body = json.loads(await answer.read())
    assert answer.status == 200, body
    return body


# Bad objects are refused, never half accepted


@pytest.mark.parametrize(
    ("manifest", "field"),
    [
        pytest.param(run({"promt": "x"}), "spec.promt", id="a prompt that is misspelt"),
        pytest.param(
            run({"agent": {"pod": {"hostNetwork": True}}}), "spec.agent.pod.hostNetwork", id="the host's network"
        ),
        pytest.param(run({"agent": {"pod": {"nodeName": "a"}}}), "spec.agent.pod.nodeName", id="a node's name"),
        pytest.param(
            run({"agent": {"pod": {"securityContext": {"privileged": True}}}}),
            "spec.agent.pod.securityContext.privileged",
            id="privilege",
        ),
        pytest.param(
            run({"agent": {"pod": {"volumes": [{"name": "a", "hostPath": {"path": "/"}}]}}}),
            "spec.agent.pod.volumes[0].hostPath",
            id="a path of the host",
        ),
        pytest.param(run({"rounds": {"most": 2}}), "spec.rounds.most", id="a bound by another name"),
        pytest.param(lane({"capacity": {"slots": 2}}), "spec.capacity.slots", id="slots by another name"),
        pytest.param(lane({"endpoint": {"apiKey": "k"}}), "spec.endpoint.apiKey", id="a key in the lane itself"),
    ],
)
async def test_kubectl_refuses_a_field_that_does_not_exist(
    kube: Kube, namespace: str, manifest: Manifest, field: str
) -> None:
    code, said = await run_kubectl("apply", "--namespace", namespace, "--filename", "-", stdin=manifest)
    assert code == 1
    assert f'unknown field "{field}"' in said
    resource = AGENT_RUNS if manifest["kind"] == "AgentRun" else MODEL_LANES
    assert (await kube.list(resource, namespace=namespace)).items == []


async def test_a_status_in_a_manifest_is_dropped(kube: Kube, namespace: str) -> None:
    made = await kube.create(AGENT_RUNS, namespace, {**run(), "status": {"attempt": 7, "phase": "Succeeded"}})
    assert made["status"] == UNSEEN


async def test_a_spec_in_a_status_write_is_dropped_and_a_bad_status_is_refused(kube: Kube, namespace: str) -> None:
    meta = (await kube.create(AGENT_RUNS, namespace, run()))["metadata"]
    with pytest.raises(Invalid, match='Unsupported value: "Dancing"'):
        await kube.apply_status(
            AGENT_RUNS,
            namespace,
            "hello",
            status={"phase": "Dancing"},
            resource_version=meta["resourceVersion"],
            uid=meta["uid"],
        )
    code, said = await run_kubectl(
        "patch", "agrun", "hello", "--namespace", namespace, "--subresource=status", "--type=merge",
        "--patch", json.dumps({"spec": {"prompt": "Other"}, "status": {"attempt": 1}}),
    )  # fmt: skip
    assert code == 0, said
    stored = await kube.get(AGENT_RUNS, namespace, "hello")
    assert (stored["spec"]["prompt"], stored["status"]) == (
        run()["spec"]["prompt"],
        {"attempt": 1, **UNSEEN},
    )


# Defaults

BACKOFF = {
    "rateLimitSeconds": 60,
    "transientSeconds": 60,
    "timeoutSeconds": 30,
    "maxSeconds": 1800,
    "ceilingSeconds": 28800,
}
RETRY = {
    "maxRetries": 2,
    "initialBackoffMilliseconds": 100,
    "jitter": "HalfToFull",
    "rateLimits": False,
    "timeouts": False,
}
DEFAULTS = [
    pytest.param(
        MODEL_LANES,
        lane(),
        {
            "access": "Gateway",
            "endpoint": {"insecureCredential": False},
            "capacity": {"runs": 4, "streamSlot": "Opening"},
            "allowedNamespaces": {"from": "Same"},
            "retry": RETRY,
            "timeouts": {"streamIdleSeconds": 1200, "holdSeconds": 60},
            "backoff": BACKOFF,
            "cooldownSeconds": 300,
            "fallbackAfterSeconds": 180,
            "advanceOnPermanent": False,
            "probe": {"periodSeconds": 30, "timeoutSeconds": 5},
            "suspend": False,
        },
        id="the smallest lane",
    ),
    pytest.param(
        MODEL_LANES,
        lane({"endpoint": {"server": None, "credentialRef": {"name": "key"}}, "probe": {"periodSeconds": 5}}),
        {
            "access": "Gateway",
            "endpoint": {"server": "Other", "insecureCredential": False, "credentialRef": {"key": "apiKey"}},
            "capacity": {"runs": 4, "streamSlot": "Opening"},
            "allowedNamespaces": {"from": "Same"},
            "retry": RETRY,
            "timeouts": {"streamIdleSeconds": 1200, "holdSeconds": 60},
            "backoff": BACKOFF,
            "cooldownSeconds": 300,
            "fallbackAfterSeconds": 180,
            "advanceOnPermanent": False,
            "probe": {"timeoutSeconds": 5},
            "suspend": False,
        },
        id="a lane with a key and half a probe",
    ),
    pytest.param(
        AGENT_RUNS,
        run(),
        {
            "agent": {"preset": "laneway"},
            "selection": "Ordered",
            "onTransientError": "BackOff",
            "timeouts": {"startSeconds": 600, "lostSeconds": 120, "idleSeconds": 1200},
            "retry": {"policy": "None", "maxRetries": 0, "maxDisruptions": 10},
            "rounds": {"max": 1, "delaySeconds": 3},
            "limits": {"onReached": "Stop", "turns": 1000, "warnPercent": 80},
            "result": {"failIfNoOutput": False},
            "caller": "",
            "priority": 0,
            "suspend": False,
            "cancel": False,
            "podTTLSeconds": 3600,
        },
        id="the smallest run",
    ),
    pytest.param(
        AGENT_RUNS,
        run({"agent": {}, "timeouts": {}, "retry": None, "suspend": None}),
        {
            "agent": {"preset": "laneway"},
            "selection": "Ordered",
            "onTransientError": "BackOff",
            "timeouts": {"startSeconds": 600, "lostSeconds": 120, "idleSeconds": 1200},
            "retry": {"policy": "None", "maxRetries": 0, "maxDisruptions": 10},
            "rounds": {"max": 1, "delaySeconds": 3},
            "limits": {"onReached": "Stop", "turns": 1000, "warnPercent": 80},
            "result": {"failIfNoOutput": False},
            "caller": "",
            "priority": 0,
            "suspend": False,
            "cancel": False,
            "podTTLSeconds": 3600,
        },
        id="a run with empty objects",
    ),
]


@pytest.mark.row("B10")
@pytest.mark.parametrize(("resource", "manifest", "defaults"), DEFAULTS)
async def test_the_api_server_fills_in_defaults(
    kube: Kube, namespace: str, resource: Resource, manifest: Manifest, defaults: Manifest
) -> None:
    made = await kube.create(resource, namespace, manifest)
    assert made["spec"] == merged(manifest["spec"], defaults)
    assert made["status"] == UNSEEN


# Lists

RUN_STATUS: Manifest = {
    "phase": "Running",
    "reason": "SlotGranted",
    "step": {"lane": "local", "namespace": "models", "model": "smollm2"},
    "attempt": 2,
    "attempts": [
        {"id": number, "step": {"lane": "local", "namespace": "models", "model": "smollm2"}, "pod": f"hello-{number}"}
        for number in (1, 2)
    ],
    "usage": {"turns": 1, "totalTokens": 48, "costUSD": "0.00"},
}
LANE_STATUS: Manifest = {
    "activeRuns": 1,
    "queuedRuns": 0,
    "conditions": [
        {"type": kind, "status": status, "reason": reason, "lastTransitionTime": NOW}
        for kind, status, reason in (("Paused", "False", "NotSuspended"), ("Ready", "True", "BackendReachable"))
    ],
}
WAITING = {
    "phase": "BackingOff",
    "reason": "BackingOff",
    "step": {"lane": "local", "namespace": "models"},
    "nextAttemptTime": NOW,
}
NARROW_RUN = ["Name", "Lane", "Model", "Phase", "Reason", "Turns", "Tokens", "Cost", "Retry At", "Age"]
NARROW_LANE = ["Name", "Server", "Runs", "Slots", "Queued", "Ready", "Throttled Until", "Age"]

TABLES = [
    pytest.param(
        AGENT_RUNS, run(), RUN_STATUS, NARROW_RUN,
        {"Name": "hello", "Lane": "local", "Model": "smollm2", "Phase": "Running", "Reason": "SlotGranted", "Turns": 1,
         "Tokens": 48, "Cost": "0.00", "Retry At": None, "Attempt": 2, "Pod": "hello-2"},
        id="a run in its second attempt",
    ),
    pytest.param(
        AGENT_RUNS, run(), None, NARROW_RUN,
        {"Name": "hello", "Lane": None, "Model": None, "Phase": None, "Reason": None, "Turns": None, "Tokens": None,
         "Cost": None, "Retry At": None, "Attempt": None, "Pod": None},
        id="a run that nobody has seen yet shows what is unknown as nothing",
    ),
    pytest.param(
        AGENT_RUNS, run(), WAITING, NARROW_RUN,
        {"Name": "hello", "Lane": "local", "Model": None, "Phase": "BackingOff", "Reason": "BackingOff", "Turns": None,
         "Tokens": None, "Cost": None, "Retry At": NOW, "Attempt": None, "Pod": None},
        id="a run that waits names its lane and when it looks again",
    ),
    pytest.param(
        MODEL_LANES, lane({"capacity": {"runs": 2}}), LANE_STATUS, NARROW_LANE,
        {"Name": "local", "Server": "Ollama", "Runs": 1, "Slots": 2, "Queued": 0, "Ready": "True", "Throttled Until": None,
         "Reason": "BackendReachable", "URL": "http://ollama:11434"},
        id="a lane that is ready",
    ),
    pytest.param(
        MODEL_LANES, lane(), None, NARROW_LANE,
        {"Name": "local", "Server": "Ollama", "Runs": None, "Slots": 4, "Queued": None, "Ready": None, "Throttled Until": None, "Reason": None,
         "URL": "http://ollama:11434"},
        id="a lane that nobody has seen yet",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("resource", "manifest", "status", "narrow", "cells"), TABLES)
async def test_the_columns_of_kubectl_get(  # noqa: PLR0917 - pytest passes by name
    kube: Kube,
    connection: Connection,
    namespace: str,
    resource: Resource,
    manifest: Manifest,
    status: Manifest | None,
    narrow: list[str],
    cells: dict[str, Any],
) -> None:
    meta = (await kube.create(resource, namespace, manifest))["metadata"]
    if status is not None:
        await kube.apply_status(
            resource, namespace, meta["name"], status=status, resource_version=meta["resourceVersion"], uid=meta["uid"]
        )
    table = await read(connection, resource.path(namespace), accept=TABLE)
    names = [column["name"] for column in table["columnDefinitions"]]
    assert [column["name"] for column in table["columnDefinitions"] if column["priority"] == 0] == narrow
    shown = dict(zip(names, table["rows"][0]["cells"], strict=True))
    assert shown.pop("Age")
    assert shown == cells


@pytest.mark.parametrize(
    ("selector", "found"),
    [
        pytest.param("status.phase=Running", ["hello"], id="by phase"),
        pytest.param("status.step.lane=local,status.step.namespace=models", ["hello"], id="by the lane in use"),
        pytest.param("spec.agent.preset=laneway", ["hello", "other"], id="by preset"),
        pytest.param("spec.suspend=true", ["other"], id="by suspend"),
        pytest.param("status.phase=Failed", [], id="by a phase that none has"),
    ],
)
async def test_runs_are_found_by_field(
    kube: Kube, connection: Connection, namespace: str, selector: str, found: list[str]
) -> None:
    meta = (await kube.create(AGENT_RUNS, namespace, run()))["metadata"]
    await kube.apply_status(
        AGENT_RUNS, namespace, "hello", status=RUN_STATUS, resource_version=meta["resourceVersion"], uid=meta["uid"]
    )
    await kube.create(AGENT_RUNS, namespace, run({"suspend": True}, name="other"))
    listed = await read(connection, f"{AGENT_RUNS.path(namespace)}?fieldSelector={selector.replace('=', '%3D')}")
    assert [item["metadata"]["name"] for item in listed["items"]] == found


@pytest.mark.parametrize("name", ["agrun", "lane", "laneway"])
async def test_short_names_and_the_category_work(kube: Kube, namespace: str, name: str) -> None:
    await kube.create(AGENT_RUNS, namespace, run())
    await kube.create(MODEL_LANES, namespace, lane())
    code, said = await run_kubectl("get", name, "--namespace", namespace, "--output", "name")
    kinds = {"agrun": ["agentrun.laneway.dev/hello"], "lane": ["modellane.laneway.dev/local"]}
    assert code == 0, said
    assert sorted(said.split()) == kinds.get(name, [*kinds["agrun"], *kinds["lane"]])


async def test_kubectl_explain_tells_what_a_field_means(cluster: object) -> None:
    code, said = await run_kubectl("explain", "agentrun.spec.agent.pod.volumes.emptyDir.sizeLimit")
    assert code == 0, said
    assert "Most that may be written, for example 1Gi." in " ".join(said.split())


# The definitions themselves


@pytest.mark.parametrize("kind", [pytest.param(kind, id=kind.plural) for kind in crds.KINDS])
async def test_the_api_server_accepts_the_cost_of_every_rule_of_a_new_definition(
    cluster: object, kind: crds.Kind
) -> None:
    # Under another group: the server trusts rules that a stored definition has already.
    fresh = merged(
        crds.definition(kind),
        {"metadata": {"name": f"{kind.plural}.fresh.example"}, "spec": {"group": "fresh.example"}},
    )
    code, said = await run_kubectl("create", "--dry-run=server", "--filename", "-", stdin=fresh)
    assert (code, said.strip()) == (
        0, f"customresourcedefinition.apiextensions.k8s.io/{kind.plural}.fresh.example created (server dry run)",
    )  # fmt: skip


@pytest.mark.parametrize("kind", [pytest.param(kind, id=kind.plural) for kind in crds.KINDS])
async def test_the_stored_definition_is_the_generated_one_and_is_structural(
    connection: Connection, kind: crds.Kind
) -> None:
    code, said = await run_kubectl("diff", "--filename", str(ROOT / "crds" / f"{kind.name}.yaml"))
    assert (code, said) == (0, "")
    path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{kind.name}"
    conditions = {
        condition["type"]: condition["status"] for condition in (await read(connection, path))["status"]["conditions"]
    }
    assert (conditions.get("Established"), conditions.get("NamesAccepted")) == ("True", "True")
    assert conditions.get("NonStructuralSchema", "False") == "False"


def test_the_quickstart_has_a_lane_and_a_run() -> None:
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "examples" / "quickstart").glob("*.yaml")]
    kinds = {document["kind"] for text in texts for document in yaml.safe_load_all(text)}
    assert {"AgentRun", "ModelLane"} <= kinds
