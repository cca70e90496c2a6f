"""How the calls of each lane's models went, whoever made them: what the operator may cool a model for.

A failure counts here if its class says something of the model's, or its account's, health (rules.cooldown.COOLING_CAUSES). Task errors
(400, 422 and the like), ModelNotFound, ContextTooLong, WireAPIUnsupported and Unknown are neither failure nor success, nor is a call that
its client or the operator cut, nor a refusal of the gateway's own (a missing key stands on the attempt). A success is an answered
generation call.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from typing import NamedTuple

from laneway.api.gatewaystate import CallFailure, ModelEvidence
from laneway.rules.cooldown import COOLING_CAUSES

MODELS_LIMIT = 10_000
"""A call that outlives its lane leaves evidence that nobody drops; the oldest goes."""


class LaneModel(NamedTuple):
    """A model of a lane."""

    namespace: str
    lane: str
    model: str


class Evidence:
    """The evidence of all models, in the order of its last change."""

    def __init__(self, next_version: Callable[[], int]) -> None:
        self._next_version = next_version
        self._models: OrderedDict[LaneModel, ModelEvidence] = OrderedDict()

    def failed(self, model: LaneModel, failure: CallFailure, *, run_uid: str) -> None:
        """A call failed."""
        if failure.cause not in COOLING_CAUSES:
            return
        known = self._known(model)
        self._change(model, {"failures": known.failures + 1, "last_failure": failure, "run_uid": run_uid})

    def succeeded(self, model: LaneModel, *, sent: datetime) -> None:
        """A call was answered. Failures seen after it was sent stay (C5)."""
        known = self._known(model)
        latest = max(sent, known.last_success_time or sent)
        changes: dict[str, object] = {"last_success_time": latest}
        if known.last_failure is not None and sent > known.last_failure.seen_time:
            changes |= {"failures": 0, "last_failure": None, "run_uid": None}
        self._change(model, changes)

    def of(self, model: LaneModel) -> ModelEvidence | None:
        """What is known of a model."""
        return self._models.get(model)

    def keep(self, namespace: str, lane: str, models: Collection[str]) -> None:
        """Drop what is known of all other models of the lane."""
        for key in [key for key in self._models if key[:2] == (namespace, lane) and key.model not in models]:
            del self._models[key]

    def since(self, version: int) -> tuple[ModelEvidence, ...]:
        """What changed after a version, the newest first."""
        changed = []
        for one in reversed(self._models.values()):
            if one.version <= version:
                break
            changed.append(one)
        return tuple(changed)

    def _known(self, model: LaneModel) -> ModelEvidence:
        known = self._models.get(model)
        return known or ModelEvidence(namespace=model.namespace, lane=model.lane, model=model.model)

    def _change(self, model: LaneModel, changes: Mapping[str, object]) -> None:
        version = self._next_version()
        self._models[model] = self._known(model).model_copy(update={**changes, "version": version})
        self._models.move_to_end(model)
        if len(self._models) > MODELS_LIMIT:
            self._models.popitem(last=False)
