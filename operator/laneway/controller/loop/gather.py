"""Gathers everything a decision about a run needs; what only a live read can tell is read here."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from laneway.api import names
from laneway.api.gatewaystate import AttemptState
from laneway.controller.between.aftermath import has_other_step
from laneway.controller.chain.activemodel import was_touched
from laneway.controller.facts.access import is_direct
from laneway.controller.facts.objects import Lane, Run
from laneway.controller.facts.pods import PodFacts, parse_time, read_pod
from laneway.controller.facts.presets import LogParser, Preset
from laneway.controller.facts.views import Answer, Held, PodRefusal, RunView, Standing, Surroundings, Walk
from laneway.controller.logs import tail
from laneway.controller.logs.result import wants_log
from laneway.controller.memory.world import World
from laneway.controller.outside.agentlog import AgentLog, read_end
from laneway.controller.outside.gateway import GatewayClient
from laneway.controller.running.livewalk import find_walk
from laneway.kube.client import Kube
from laneway.kube.errors import Forbidden, NotFound
from laneway.kube.resources import AGENT_RUNS, CONFIG_MAPS, NODES, PODS, JsonObject, Key
from laneway.rules.chain import Chain
from laneway.rules.token import AttemptId, TokenKeys, sign
from laneway.rules.traces import traceparent

log = logging.getLogger(__name__)


class Gatherer:
    """Builds views of runs."""

    def __init__(
        self,
        *,
        kube: Kube,
        world: World,
        gateway: GatewayClient,
        presets: Mapping[str, Preset],
        keys: TokenKeys,
        agent_image: str,
        gateway_url: str,
        trace_ratio: float | None = None,
    ) -> None:
        """``trace_ratio``: the share of runs that is traced; None: there are no traces."""
        self._kube = kube
        self._world = world
        self._gateway = gateway
        self._presets = presets
        self._keys = keys
        self._agent_image = agent_image
        self._gateway_url = gateway_url
        self._trace_ratio = trace_ratio
        self.places: dict[Key, dict[str, Standing]] = {}
        """Places in the queues, by lane and run uid, as the last pass over each lane worked them out."""
        self.untouched: dict[Key, Held] = {}
        """Slots by run that this process granted and has not looked at since: nobody can have made their pods."""

    async def run_view(self, run: Run, refusal: PodRefusal | None) -> RunView:
        """Everything known of a run now."""
        lane = self._world.lane(self._lane_key(run))
        chain, lanes = (Chain(), {}) if run.finished else self._world.chain(run)
        pods = await self._pods(run)
        current = next((pod for pod in pods if pod.attempt == run.status.attempt), None)
        gateway = self._gateway.attempt_view(run.meta.uid, run.status.attempt)
        if run.finished and not run.owed:
            self._gateway.forget(run.meta.uid)  # there may be tens of thousands
        said = await self._log(run, lane, current, gateway.state)
        standing = self.places.get(Key(*run.lane_key), {}).get(run.meta.uid)
        return replace(
            self._chain_view(run, chain, lanes),
            lane=lane,
            place=standing.place if standing else None,
            place_since=standing.since if standing else None,
            pods=pods,
            gateway=gateway,
            envelope=said.envelope,
            log_blank=said.blank,
            log_end=said.end,
            refusal=refusal,
            answer=self._answer(run),
            lost_nodes=await self._lost_nodes(pods),
            prompt_missing=await self._prompt_missing(run, current),
            usable_lanes=()
            if len(lanes) == len({link.key for link in chain.links})
            else self._world.usable_lanes(run.meta.namespace),
            dependencies=self._world.dependencies(run),
            other_managers=await self._other_managers(run) if was_touched(run, chain) else (),
        )

    def _answer(self, run: Run) -> Answer | None:
        """What its classifier said. Who needs it no longer is not asked about any more."""
        questions = self._gateway.questions
        if run.waits and run.status.classification is None:
            return questions.answer_to(run.meta.uid)
        questions.forget(run.meta.uid)
        return None

    def elsewhere(self, run: Run, now: datetime) -> bool:
        """Whether a run has another step than its own that is open now: what the lane learns from its failure depends on it (C15)."""
        chain, lanes = self._world.chain(run)
        return len(chain.links) != 1 and has_other_step(self._chain_view(run, chain, lanes), now)

    def walk(self, run: Run, now: datetime) -> Walk | None:
        """The slot of another lane that a running attempt asks for, as far as the cache and the gateway's last word tell."""
        chain, lanes = self._world.chain(run)
        view = replace(
            self._chain_view(run, chain, lanes),
            lane=self._world.lane(self._lane_key(run)),
            pods=self._world.pods_of_run(run.meta.uid),
            gateway=self._gateway.attempt_view(run.meta.uid, run.status.attempt),
        )
        return find_walk(view, now)

    def _chain_view(self, run: Run, chain: Chain, lanes: Mapping[tuple[str, str], Lane]) -> RunView:
        """What the cache tells of a run and of the steps that it may take."""
        return RunView(
            run=run,
            surroundings=self._surroundings(run),
            chain=chain,
            lanes=lanes,
            peers={key: self._world.peers(lane) for key, lane in lanes.items()},
            presets=self._presets,
        )

    async def _other_managers(self, run: Run) -> tuple[str, ...]:
        """Read live: the cache leaves managers out."""
        try:
            raw = await self._kube.get(AGENT_RUNS, run.meta.namespace, run.meta.name)
        except NotFound:
            return ()
        return spec_managers(raw)

    def _lane_key(self, run: Run) -> Key:
        """While an attempt lives, and after the run has ended, it is judged by the attempt's own lane, wherever the spec points."""
        attempts = run.status.attempts
        current = attempts[-1] if run.finished and attempts else run.current
        return Key(current.step.namespace, current.step.lane) if current else Key(*run.lane_key)

    def _surroundings(self, run: Run) -> Surroundings:
        attempt, ratio = AttemptId(run.meta.uid, run.status.attempt or 0), self._trace_ratio
        return Surroundings(
            agent_image=self._agent_image,
            gateway_url=self._gateway_url,
            token=sign(self._keys, attempt),
            traceparent=None if ratio is None else traceparent(attempt.run_uid, attempt.attempt, ratio),
        )

    async def _pods(self, run: Run) -> tuple[PodFacts, ...]:
        """Its pods. Before a pod counts as lost, or a grant of another process as untouched, the API server itself is asked."""
        pods = self._world.pods_of_run(run.meta.uid)
        attempt = run.current
        if attempt is None:
            return pods
        untouched = self.untouched.pop(Key(*run.meta.key), None) == Held(run.meta.uid, attempt.id)
        if untouched or any(pod.attempt == attempt.id for pod in pods):
            return pods
        name = names.pod_name(run=run.meta.name, uid=run.meta.uid, attempt=attempt.id)
        try:
            raw = await self._kube.get(PODS, run.meta.namespace, name)
        except NotFound:
            return pods
        found = read_pod(raw)
        if found is None or found.run_uid != run.meta.uid:
            return pods
        self._world.absorb(PODS, raw)
        return (*pods, found)

    async def _log(self, run: Run, lane: Lane | None, pod: PodFacts | None, state: AttemptState | None) -> AgentLog:
        """The end of the agent's log, where it can tell what nothing else does."""
        preset = self._presets.get(run.spec.agent.preset)
        if pod is None or preset is None or run.current is None:
            return AgentLog()
        direct = is_direct(run.current, lane.spec if lane else None)
        if wants_log(pod, preset.log_parser, state, direct=direct):
            return await read_end(self._kube, pod, preset.log_parser)
        if tail.is_wanted(run, pod, state, direct=direct):
            return AgentLog(end=(await read_end(self._kube, pod, LogParser.NONE)).end)
        return AgentLog()

    async def _lost_nodes(self, pods: tuple[PodFacts, ...]) -> dict[str, datetime]:
        """Nodes that do not answer, among those of unfinished pods that are not ready. Without the right to ask: none."""
        lost: dict[str, datetime] = {}
        for node in {pod.node for pod in pods if pod.node and not pod.finished and pod.started and pod.ready is False}:
            try:
                raw = await self._kube.get(NODES, None, node)
            except (Forbidden, NotFound):
                continue
            for condition in (raw.get("status") or {}).get("conditions") or ():
                if condition["type"] == "Ready" and condition["status"] != "True":
                    lost[node] = parse_time(condition["lastTransitionTime"])
        return lost

    async def _prompt_missing(self, run: Run, pod: PodFacts | None) -> bool:
        source = run.spec.prompt_from
        if source is None or pod is None or pod.started or pod.finished:
            return False
        ref = source.config_map_key_ref
        try:
            found = await self._kube.get(CONFIG_MAPS, run.meta.namespace, ref.name)
        except NotFound:
            return True
        return ref.key not in (found.get("data") or {}) and ref.key not in (found.get("binaryData") or {})


def spec_managers(raw: JsonObject) -> tuple[str, ...]:
    """Who owns ``spec.activeModel`` besides us; if nobody does, all other field managers of what is not status.

    A manager that took the field away leaves no trace of that: it is one of those who write the object.
    """
    others = {
        str(entry.get("manager", "")): (entry.get("fieldsV1") or {}).get("f:spec") or {}
        for entry in raw["metadata"].get("managedFields") or ()
        if not entry.get("subresource") and entry.get("manager") != names.SPEC_MANAGER
    }
    owners = [manager for manager, spec in others.items() if "f:activeModel" in spec]
    return tuple(sorted(owners or others))
