"""Effects carried out on the cluster. Each may be carried out again after a crash at any line, with the same result."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

from laneway.api import names
from laneway.api.base import Model
from laneway.api.reasons import Waiting
from laneway.controller.decision.effects import (
    Classify,
    CloseAttempt,
    CreatePod,
    DeletePod,
    DeleteRun,
    Effect,
    EnsureClaim,
    EnsureConfigMap,
    KeepLog,
    LabelPod,
    PatchActiveModel,
    PostEvent,
)
from laneway.controller.decision.events import build_event
from laneway.controller.facts.objects import Meta
from laneway.controller.facts.views import PodRefusal
from laneway.controller.memory.doubts import Doubts
from laneway.controller.memory.world import World
from laneway.controller.outside.clock import Clock
from laneway.controller.outside.gateway import GatewayAway, GatewayClient
from laneway.controller.outside.telling import Teller
from laneway.kube.client import Kube
from laneway.kube.errors import AlreadyExists, Forbidden, Invalid, KubeError, NotFound, Unavailable
from laneway.kube.resources import AGENT_RUNS, CLAIMS, CONFIG_MAPS, PODS, JsonObject, Key, Resource, uid_of

_NOT_PERMITTED = "cannot create resource"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Applied:
    """What came of the effects."""

    refusal: PodRefusal | None = None
    look_again: bool = False
    """Something the next decision depends on has changed, or is still missing."""
    gateway_away: bool = False


class Applier:
    """The only place of the operator that writes."""

    def __init__(self, *, kube: Kube, world: World, gateway: GatewayClient, clock: Clock, instance: str) -> None:
        self._kube = kube
        self._world = world
        self._gateway = gateway
        self._clock = clock
        self._instance = instance
        self._teller = Teller(kube)
        self._doubts = Doubts()

    async def prepare(self, effects: tuple[Effect, ...]) -> Applied:
        """Effects that come before the status: children are made, attempts are closed."""
        applied = Applied()
        for effect in effects:
            match effect:
                case EnsureConfigMap():
                    refusal = await self._ensure_config_map(effect)
                    if refusal:
                        return Applied(refusal=refusal)
                case KeepLog():
                    await self._keep_log(effect)
                case EnsureClaim():
                    refusal = await self._ensure_claim(effect)
                    if refusal:
                        return Applied(refusal=refusal)
                case CreatePod():
                    refusal = await self._create_pod(effect)
                    applied = Applied(refusal=refusal, look_again=refusal is None)
                case CloseAttempt():
                    applied = await self._close(effect)
                case DeletePod() | DeleteRun() | LabelPod() | Classify() | PostEvent() | PatchActiveModel():
                    continue
        return applied

    async def finish(self, effects: tuple[Effect, ...], *, kind: str, meta: Meta) -> None:
        """Effects that come after the status: people are told, pods count where it says, the spec shows the step, pods are stopped, classifiers are asked.

        What fails on the way comes again with the next decision, but Events do not: they are first. ``meta``: as the status was written.
        """
        self.tell(_events_in(effects), kind=kind, meta=meta)
        for effect in effects:
            if isinstance(effect, LabelPod):
                await self._label_pod(effect)
            elif isinstance(effect, PatchActiveModel):
                await self._patch_active_model(effect, meta)
            elif isinstance(effect, DeletePod):
                await self._delete_pod(effect)
            elif isinstance(effect, DeleteRun):
                await self._delete_run(effect)
            elif isinstance(effect, Classify):
                self._gateway.questions.ask(effect, Key(*meta.key))

    async def write_status(
        self, resource: Resource, meta: Meta, status: Model, *, known: JsonObject, effects: tuple[Effect, ...] = ()
    ) -> Meta | None:
        """Write a whole status if it says anything new. The answer enters the cache; None: nothing was written.

        ``effects``: those of the same decision. Without an answer their Events are told when the status turns out to be written.
        """
        self.tell(self._doubts.landed(meta.uid, known), kind=resource.kind, meta=meta)
        wanted = {name: value for name, value in status.to_wire().items() if value != []}
        if wanted == known:
            return None
        try:
            answer = await self._kube.apply_status(
                resource, meta.namespace, meta.name, status=wanted, resource_version=meta.resource_version, uid=meta.uid
            )
        except Unavailable:
            self._doubts.note(meta.uid, wanted, _events_in(effects))
            raise
        self._doubts.settle(meta.uid)
        self._world.absorb(resource, answer)
        return replace(meta, resource_version=answer["metadata"]["resourceVersion"])

    def tell(self, events: tuple[PostEvent, ...], *, kind: str, meta: Meta) -> None:
        """Post Events, in order, behind the pass: what comes next does not wait for them."""
        now = self._clock.now()
        for event in events:
            self._teller.tell(build_event(event, kind=kind, meta=meta, instance=self._instance, now=now))

    async def all_told(self) -> None:
        """Wait until what was to be told is posted."""
        await self._teller.all_told()

    async def _ensure_config_map(self, effect: EnsureConfigMap | KeepLog) -> PodRefusal | None:
        run = _owner_uid(effect.manifest)
        made = await self._make(CONFIG_MAPS, effect.manifest, lambda found: _is_owned(found, run), what="config map")
        return made if isinstance(made, PodRefusal) else None

    async def _keep_log(self, effect: KeepLog) -> None:
        """A quota, a namespace that goes, a missing right: the run ends without it."""
        try:
            refusal = await self._ensure_config_map(effect)
            why = refusal.message if refusal else None
        except (Forbidden, NotFound) as error:
            why = error.message
        if why is not None:
            log.warning(
                "the end of a log was not kept", extra={"object": effect.manifest["metadata"]["name"], "error": why}
            )

    async def _ensure_claim(self, effect: EnsureClaim) -> PodRefusal | None:
        run = _owner_uid(effect.manifest)
        made = await self._make(CLAIMS, effect.manifest, lambda found: _is_owned(found, run), what="claim")
        if isinstance(made, PodRefusal):
            return made
        if "deletionTimestamp" in made["metadata"]:
            return PodRefusal(Waiting.NAME_TAKEN, f"claim {made['metadata']['name']} of the workspace is being deleted")
        return None

    async def _create_pod(self, effect: CreatePod) -> PodRefusal | None:
        made = await self._make(PODS, effect.manifest, lambda found: _is_ours(found, effect), what="pod")
        if isinstance(made, PodRefusal):
            return made
        self._world.absorb(PODS, made)
        return None

    async def _make(
        self, resource: Resource, manifest: JsonObject, ours: Callable[[JsonObject], bool], *, what: str
    ) -> JsonObject | PodRefusal:
        """Make what a run needs; one that is there already and is ours is success."""
        namespace, name = manifest["metadata"]["namespace"], manifest["metadata"]["name"]
        try:
            return await self._kube.create(resource, namespace, manifest)
        except AlreadyExists:
            found = await self._kube.get(resource, namespace, name)
            taken = f"{what} {name} exists and is not this run's; delete or rename it"
            return found if ours(found) else PodRefusal(Waiting.NAME_TAKEN, taken)
        except (Forbidden, Invalid) as error:
            return _refusal(error, what)

    async def _delete_pod(self, effect: DeletePod) -> None:
        await self._kube.delete(PODS, effect.namespace, effect.name, uid=effect.uid, grace_seconds=effect.grace_seconds)

    async def _delete_run(self, effect: DeleteRun) -> None:
        """Only in the version that was looked at: whoever has changed it since may want to keep it."""
        await self._kube.delete(
            AGENT_RUNS, effect.namespace, effect.name, uid=effect.uid, resource_version=effect.resource_version
        )

    async def _label_pod(self, effect: LabelPod) -> None:
        """Only on the very pod that is known: what was decided for an older one must not land late."""
        known = self._world.cache.get(PODS, Key(effect.namespace, effect.name))
        if known is None or uid_of(known) != effect.uid:
            return
        namespace, lane = effect.lane
        meta = {
            "uid": effect.uid,
            "resourceVersion": known["metadata"]["resourceVersion"],
            "labels": {names.LANE_NAMESPACE_LABEL: namespace, names.LANE_LABEL: lane},
        }
        answer = await self._kube.merge_patch(PODS, effect.namespace, effect.name, {"metadata": meta})
        self._world.absorb(PODS, answer)

    async def _patch_active_model(self, effect: PatchActiveModel, meta: Meta) -> None:
        """Only on the very object that the status was written to: whoever changed it since is heard first."""
        value = effect.value.to_wire() if effect.value else None
        body = {
            "metadata": {"uid": meta.uid, "resourceVersion": meta.resource_version},
            "spec": {"activeModel": value},
        }
        answer = await self._kube.merge_patch(AGENT_RUNS, meta.namespace, meta.name, body)
        self._world.absorb(AGENT_RUNS, answer)

    async def _close(self, effect: CloseAttempt) -> Applied:
        try:
            await self._gateway.close_attempt(effect.run_uid, effect.attempt)
        except GatewayAway:
            return Applied(gateway_away=True)
        return Applied(look_again=True)


def _events_in(effects: tuple[Effect, ...]) -> tuple[PostEvent, ...]:
    return tuple(effect for effect in effects if isinstance(effect, PostEvent))


def _is_ours(pod: JsonObject, effect: CreatePod) -> bool:
    """A name that is taken counts as success only for the same attempt of the same run."""
    labels = pod["metadata"].get("labels") or {}
    return _is_owned(pod, effect.run_uid) and labels.get(names.ATTEMPT_LABEL) == str(effect.attempt)


def _owner_uid(manifest: JsonObject) -> str:
    return str(manifest["metadata"]["ownerReferences"][0]["uid"])


def _is_owned(obj: JsonObject, run_uid: str) -> bool:
    owners = obj["metadata"].get("ownerReferences") or ()
    return any(owner.get("controller") and owner.get("uid") == run_uid for owner in owners)


def _refusal(error: KubeError, what: str) -> PodRefusal:
    """Quota may free up; a missing permission is the operator's own trouble; anything else is the manifest's."""
    if isinstance(error, Forbidden) and "exceeded quota" in error.message:
        return PodRefusal(Waiting.QUOTA_EXCEEDED, error.message)
    if isinstance(error, Forbidden) and _NOT_PERMITTED in error.message:
        raise error
    return PodRefusal(None, f"the API server refused the {what}: {error.message}")
