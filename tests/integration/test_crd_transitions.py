"""Rules on a change, on a real API server: what of a run may change once its first attempt has begun."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from laneway.api import crds
from laneway.api.agentrun import FROZEN
from laneway.kube.client import Kube
from laneway.kube.errors import Invalid
from laneway.kube.resources import AGENT_RUNS
from manifests import UNSEEN, Manifest, run

REF = {"configMapKeyRef": {"name": "a", "key": "b"}}
NOON = "2026-03-01T12:00:00Z"
MODELS = "models can change after the first attempt only while suspend is true"
CANCEL = "cancel cannot be taken back; create a new run"
AFFINITY = {"pod": {"affinity": {"nodeAffinity": {"a": "b"}}}}


def frozen(field: str) -> str:
    return f"{field} cannot change after the first attempt; create a new run"


REFUSED = [
    pytest.param({}, {"prompt": "Other"}, "spec", frozen("prompt"), id="another prompt"),
    pytest.param({}, {"prompt": None, "promptFrom": REF}, "spec", frozen("prompt"), id="a prompt from elsewhere instead"),
    pytest.param({"prompt": None, "promptFrom": REF}, {"promptFrom": {"configMapKeyRef": {"key": "c"}}}, "spec", frozen("promptFrom"), id="a prompt from another place"),
    pytest.param({}, {"title": "Mine"}, "spec", frozen("title"), id="a title where there was none"),
    pytest.param({"title": "Mine"}, {"title": None}, "spec", frozen("title"), id="no title where there was one"),
    pytest.param({}, {"agent": {"image": "other"}}, "spec", frozen("agent"), id="another image"),
    pytest.param({"agent": AFFINITY}, {"agent": {"pod": {"affinity": {"nodeAffinity": {"a": "c"}}}}}, "spec", frozen("agent"), id="a change inside a field that the schema does not know"),
    pytest.param({"agent": {"workspace": {"size": "1Gi"}}}, {"agent": {"workspace": {"size": "2Gi"}}}, "spec", frozen("agent"), id="a larger workspace"),
    pytest.param({}, {"agent": {"workspace": {"size": "1Gi"}}}, "spec", frozen("agent"), id="a workspace where there was none"),
    pytest.param({"agent": {"workspace": {"size": "1Gi"}}}, {"agent": {"workspace": None}}, "spec", frozen("agent"), id="no workspace where there was one"),
    pytest.param({}, {"retry": {"maxDisruptions": 1}}, "spec", frozen("retry"), id="another bound on disruptions"),
    pytest.param({}, {"retry": {"policy": "Same", "maxRetries": 2}}, "spec", frozen("retry"), id="retries where there were none"),
    pytest.param({}, {"rounds": {"max": 2}}, "spec", frozen("rounds"), id="another number of rounds"),
    pytest.param({}, {"result": {"failIfNoOutput": True}}, "spec", frozen("result"), id="another demand on its result"),
    pytest.param({}, {"selection": "LeastBusy"}, "spec", frozen("selection"), id="another way to choose a step"),
    pytest.param({}, {"onTransientError": "Stop"}, "spec", frozen("onTransientError"), id="another answer to trouble"),
    pytest.param({"caller": "ci"}, {"caller": "me"}, "spec", frozen("caller"), id="another caller"),
    pytest.param({}, {"dependsOn": [{"name": "x"}]}, "spec", frozen("dependsOn"), id="a dependency where there was none"),
    pytest.param({"notBeforeTime": NOON}, {"notBeforeTime": None}, "spec", frozen("notBeforeTime"), id="a start time that is left out"),
    pytest.param({}, {"models": [{"lane": "other"}]}, "spec.models", MODELS, id="another model while it runs"),
    pytest.param({"cancel": True}, {"cancel": False}, "spec.cancel", CANCEL, id="a cancel that is taken back"),
    pytest.param({"cancel": True}, {"cancel": None}, "spec.cancel", CANCEL, id="a cancel that is left out"),
]  # fmt: skip

ACCEPTED = [
    pytest.param({}, {"models": [{"lane": "other"}], "suspend": True}, MODELS, id="another model together with suspend"),
    pytest.param({"suspend": True}, {"models": [{"lane": "other"}]}, MODELS, id="another model while suspended"),
    pytest.param({}, {"cancel": True}, CANCEL, id="a cancel"),
    pytest.param({"cancel": True}, {"cancel": True, "suspend": True}, CANCEL, id="a cancel that stays"),
    pytest.param({"agent": AFFINITY}, {"agent": {"preset": "laneway"}}, frozen("agent"), id="an agent that is the same"),
    pytest.param({}, {"retry": {"maxDisruptions": 10}}, frozen("retry"), id="a retry that is the same as the default"),
    pytest.param({}, {"rounds": {"max": 1, "delaySeconds": 3}}, frozen("rounds"), id="rounds that are the same as the default"),
    pytest.param({}, {"prompt": "What is the capital of France?"}, frozen("prompt"), id="a prompt that is the same"),
    pytest.param({"prompt": None, "promptFrom": REF}, {"promptFrom": REF}, frozen("promptFrom"), id="a source that is the same"),
    pytest.param({"title": "Mine"}, {"title": "Mine"}, frozen("title"), id="a title that is the same"),
    pytest.param({}, {"timeouts": {"startSeconds": 5, "lostSeconds": 5}, "podTTLSeconds": 1}, None, id="time-outs and a time to live"),
    pytest.param({"selection": "LeastBusy"}, {"selection": "LeastBusy"}, frozen("selection"), id="a way to choose that is the same"),
    pytest.param({}, {"result": {"failIfNoOutput": False}}, frozen("result"), id="a demand on its result that is the default"),
    pytest.param({}, {"onTransientError": "BackOff"}, frozen("onTransientError"), id="an answer to trouble that is the default"),
    pytest.param({}, {"activeModel": {"lane": "local"}}, None, id="an active model"),
    pytest.param({"caller": "ci"}, {"caller": "ci"}, frozen("caller"), id="a caller that is the same"),
    pytest.param({"dependsOn": [{"name": "x"}]}, {"dependsOn": [{"name": "x"}]}, frozen("dependsOn"), id="a dependency that is the same"),
    pytest.param({"notBeforeTime": NOON}, {"notBeforeTime": NOON}, frozen("notBeforeTime"), id="a start time that is the same"),
    pytest.param({"priority": 1}, {"priority": -5}, None, id="another priority"),
    pytest.param({}, {"timeouts": {"queueSeconds": 60}}, None, id="a bound on its wait"),
    pytest.param({"limits": {"costUSD": "2.50"}}, {"limits": {"costUSD": "5.00", "turns": 5}}, None, id="other limits"),
    pytest.param({}, {"suspend": True}, None, id="a suspend"),
]  # fmt: skip


async def started(kube: Kube, namespace: str, spec: Manifest, *, attempt: int) -> str:
    """A run whose status says which attempt is its latest; answers its name."""
    made = await kube.create(AGENT_RUNS, namespace, run(spec))
    meta = made["metadata"]
    written = await kube.apply_status(
        AGENT_RUNS,
        namespace,
        meta["name"],
        status={"attempt": attempt},
        resource_version=meta["resourceVersion"],
        uid=meta["uid"],
    )
    assert written["status"] == {"attempt": attempt, **UNSEEN}
    name: str = meta["name"]
    return name


@pytest.mark.parametrize(("spec", "change", "where", "sentence"), REFUSED)
async def test_a_run_that_has_begun_refuses(  # noqa: PLR0917 - pytest passes by name
    kube: Kube, namespace: str, spec: Manifest, change: Manifest, where: str, sentence: str
) -> None:
    name = await started(kube, namespace, spec, attempt=1)
    with pytest.raises(Invalid) as refusal:
        await kube.merge_patch(AGENT_RUNS, namespace, name, {"spec": change})
    assert f" {where}: Invalid value: " in refusal.value.message
    assert refusal.value.message.endswith(sentence)


@pytest.mark.parametrize(("spec", "change", "sentence"), ACCEPTED)
async def test_a_run_that_has_begun_accepts(
    kube: Kube, namespace: str, spec: Manifest, change: Manifest, sentence: str | None
) -> None:
    name = await started(kube, namespace, spec, attempt=1)
    changed = await kube.merge_patch(AGENT_RUNS, namespace, name, {"spec": change})
    assert changed["status"] == {"attempt": 1, **UNSEEN}, sentence
    for field, value in change.items():
        assert value == changed["spec"][field] or value.items() <= changed["spec"][field].items()


async def test_a_phase_in_the_same_request_does_not_let_a_frozen_field_change(kube: Kube, namespace: str) -> None:
    name = await started(kube, namespace, {}, attempt=1)
    body = {"spec": {"prompt": "Other"}, "status": {"phase": "Running"}}
    with pytest.raises(Invalid) as refusal:
        await kube.merge_patch(AGENT_RUNS, namespace, name, body)
    assert frozen("prompt") in refusal.value.message


@pytest.mark.parametrize("attempt", [pytest.param(0, id="attempt 0"), pytest.param(None, id="no status at all")])
async def test_until_the_first_attempt_the_whole_spec_may_change(
    kube: Kube, namespace: str, attempt: int | None
) -> None:
    change: dict[str, Any] = {
        "prompt": None,
        "promptFrom": REF,
        "title": "Mine",
        "agent": {"preset": "generic", "image": "busybox"},
        "models": [{"lane": "other", "model": "m"}],
        "retry": {"maxDisruptions": 0},
        "caller": "me",
    }
    if attempt is None:
        name = (await kube.create(AGENT_RUNS, namespace, run()))["metadata"]["name"]
    else:
        name = await started(kube, namespace, {}, attempt=attempt)
    changed = await kube.merge_patch(AGENT_RUNS, namespace, name, {"spec": change})
    assert changed["spec"]["promptFrom"] == REF
    assert "prompt" not in changed["spec"]
    assert changed["spec"]["models"] == [{"lane": "other", "model": "m"}]


@pytest.mark.parametrize("table", [pytest.param(REFUSED, id="refused"), pytest.param(ACCEPTED, id="accepted")])
def test_every_rule_on_a_change_has_a_case(table: list[Any]) -> None:
    rules = [rule for kind in crds.KINDS for rule in every_rule(crds.root_schema(kind.model))]
    changes = [rule for rule in rules if "oldSelf" in rule["rule"] and not rule.get("optionalOldSelf")]
    plain = {rule["message"] for rule in changes if "messageExpression" not in rule}
    assert len(changes) == len(plain) + 1
    assert {case.values[-1] for case in table} - {None} == plain | {frozen(field) for field in FROZEN}


def every_rule(schema: Manifest) -> Iterator[Manifest]:
    yield from schema.get("x-kubernetes-validations", ())
    for child in schema.get("properties", {}).values():
        yield from every_rule(child)
