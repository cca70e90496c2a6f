"""Events: one for each change, whoever posts it and however often."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from laneway.api.reasons import EventReason
from laneway.controller.decision.effects import EventType, PostEvent
from laneway.controller.decision.events import build_event
from support.builders import NOW, at, meta

PLAIN = PostEvent(EventReason.RUN_FINISHED, "Completed: done", key="finished")


def built(effect: PostEvent = PLAIN, **changes: Any) -> dict[str, Any]:
    given = {"kind": "AgentRun", "meta": meta(), "instance": "operator-0_1", "now": NOW, **changes}
    return build_event(effect, **given)


def name(event: dict[str, Any]) -> str:
    return str(event["metadata"]["name"])


def test_an_event_is_an_object_of_events_k8s_io() -> None:
    event = built(replace(PLAIN, type=EventType.WARNING))
    assert event["apiVersion"] == "events.k8s.io/v1"
    assert event["metadata"]["namespace"] == "team-a"
    assert event["eventTime"] == "2026-03-01T12:00:00.000000Z"
    assert (event["reason"], event["type"], event["note"]) == ("RunFinished", "Warning", "Completed: done")
    assert event["reportingController"] == "laneway.dev/operator"
    assert event["regarding"] == {
        "apiVersion": "laneway.dev/v1alpha1",
        "kind": "AgentRun",
        "namespace": "team-a",
        "name": "hello",
        "uid": "hello-0123456789",
    }


def test_the_same_change_has_the_same_name_from_any_replica_at_any_time() -> None:
    again = built(replace(PLAIN, message="other words"), instance="operator-1_2", now=at(60))
    assert name(again) == name(built())


def test_other_changes_objects_and_reasons_have_other_names() -> None:
    others = [
        built(replace(PLAIN, key="other")),
        built(replace(PLAIN, reason=EventReason.ATTEMPT_ENDED)),
        built(meta=meta(uid="made-anew")),
        built(),
    ]
    assert len({name(event) for event in others}) == len(others)


def test_the_bounds_of_the_api_are_kept() -> None:
    event = built(replace(PLAIN, message="x" * 3000), instance="y" * 300, meta=meta("z" * 63))
    assert len(event["note"]) == 1024
    assert len(event["reportingInstance"]) == 128
    assert len(name(event)) <= 253
