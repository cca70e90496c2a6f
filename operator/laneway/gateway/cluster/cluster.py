"""What the gateway reads from the Kubernetes API: views, the token keys, the lanes' Secrets. It writes nothing."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from laneway.api.names import RUN_UID_LABEL
from laneway.gateway.cluster.objects import trim_pod, trim_run
from laneway.gateway.cluster.views import Views
from laneway.kube.client import Kube
from laneway.kube.errors import KubeError, NotFound
from laneway.kube.resources import AGENT_RUNS, ENDPOINT_SLICES, MODEL_LANES, PODS, SECRETS
from laneway.kube.watch import mirror, without_managers
from laneway.rules.token import AttemptId, TokenKeys, parse_secret_data
from laneway.settings import GatewaySettings

log = logging.getLogger(__name__)


class Cluster:
    """The gateway's side of the API server."""

    def __init__(
        self,
        kube: Kube,
        views: Views,
        settings: GatewaySettings,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._kube = kube
        self._views = views
        self._settings = settings
        self._monotonic = monotonic
        self._heard: dict[str, float] = {}
        self._asked: dict[str, asyncio.Task[bool]] = {}

    def mirrors(self) -> list[Coroutine[Any, Any, None]]:
        """What keeps the views up to date, for ever; each fails and starts again alone."""
        plan = (
            (AGENT_RUNS, self._views.runs, None, trim_run),
            (MODEL_LANES, self._views.lanes, None, without_managers),
            (PODS, self._views.pods, RUN_UID_LABEL, trim_pod),
        )
        return [
            mirror(
                self._kube,
                resource,
                namespaces=self._settings.watch_namespaces,
                label_selector=selector,
                on_list=table.on_list,
                on_event=table.on_event,
                trim=trim,
                on_contact=lambda moment, kind=resource.kind: self._hear(kind, moment),  # type: ignore[misc]
            )
            for resource, table, selector, trim in plan
        ]

    def view_age_seconds(self) -> float:
        """Seconds since the quietest of the mirrors was last heard; infinite before the first list."""
        kinds = 3
        return self._monotonic() - min(self._heard.values()) if len(self._heard) == kinds else float("inf")

    async def read_keys(self) -> TokenKeys | None:
        """The token keys; None while their Secret is not there or cannot be read."""
        try:
            secret = await self._kube.get(SECRETS, self._settings.namespace, self._settings.token_secret)
            return parse_secret_data(secret.get("data") or {})
        except (KubeError, ValueError) as error:
            log.warning("token keys cannot be read", extra={"cause": str(error)})
            return None

    async def read_secret(self, namespace: str, name: str) -> Mapping[str, Any] | None:
        """A Secret; None if there is none. Raises OSError when the API server cannot be asked."""
        try:
            return await self._kube.get(SECRETS, namespace, name)
        except NotFound:
            return None
        except KubeError as error:
            raise OSError(error.message) from error

    async def read_api_addresses(self) -> list[str] | None:
        """Where the API server itself listens; None when that cannot be known: in namespaced mode the right is missing."""
        try:
            found = await self._kube.get(ENDPOINT_SLICES, "default", "kubernetes")
        except KubeError as error:
            log.debug("addresses of the API server cannot be read", extra={"cause": error.message})
            return None
        return [address for endpoint in found.get("endpoints") or () for address in endpoint.get("addresses") or ()]

    async def confirm(self, attempt: AttemptId) -> bool:
        """Read an attempt's pod and run live into the views; once for all who ask at a time. False: not possible now."""
        task = self._asked.get(attempt.run_uid)
        if task is None:
            task = asyncio.create_task(self._read_attempt(attempt.run_uid))
            self._asked[attempt.run_uid] = task
            task.add_done_callback(lambda _: self._asked.pop(attempt.run_uid, None))
        return await asyncio.shield(task)

    async def _read_attempt(self, run_uid: str) -> bool:
        """A pod names its run, so the run is found although only its uid is known."""
        try:
            for namespace in self._settings.watch_namespaces or (None,):
                pods = await self._kube.list(PODS, namespace=namespace, label_selector=f"{RUN_UID_LABEL}={run_uid}")
                for item in pods.items:
                    self._views.pods.put(item)
                    pod = self._views.pods.get((item["metadata"]["namespace"], item["metadata"]["name"]))
                    if pod is not None and pod.run:
                        await self._read_run(pod.namespace, pod.run)
        except KubeError as error:
            log.warning("attempt cannot be confirmed", extra={"cause": error.message})
            return False
        return True

    async def _read_run(self, namespace: str, name: str) -> None:
        try:
            self._views.runs.put(await self._kube.get(AGENT_RUNS, namespace, name))
        except NotFound:
            log.info("the run of a pod is gone", extra={"run": f"{namespace}/{name}"})

    def _hear(self, kind: str, moment: float) -> None:
        self._heard[kind] = moment
