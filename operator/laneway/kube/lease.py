"""Leader election on a Lease: 15 s until others may take it, 10 s until we stop writing, a renewal every 2 s.

The Lease's own times are for people. Others' expiry is judged by our monotonic clock since we last saw the record change,
and our right to write by the moment the last successful renewal was *sent*: the API server cannot have stored it earlier.
CLOCK_MONOTONIC runs on while a process is stopped (SIGSTOP), so a process that wakes up late finds it may not write.

Renewals need a Kube without a write guard, of their own so that they never queue behind other requests.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from prometheus_client import Gauge

from laneway.kube.client import Kube
from laneway.kube.errors import Conflict, KubeError, NotFound
from laneway.kube.resources import LEASES, JsonObject

logger = logging.getLogger(__name__)

LEASE_SECONDS = 15
RENEW_DEADLINE_SECONDS = 10.0
RETRY_SECONDS = 2.0
_CALL_SECONDS = 3.0

LEADER = Gauge("laneway_leader", "1 while this process holds the Lease and may write, else 0.")


class LeaseLost(Exception):  # noqa: N818 - it says what happened
    """This process no longer leads and must exit at once."""


class Elector:
    """Takes the Lease, keeps it, and says whether this process may write."""

    def __init__(
        self,
        *,
        kube: Kube,
        namespace: str,
        name: str,
        identity: str,
        monotonic: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """``identity`` names the replica; a random part is added, so that a restarted container is another holder."""
        self.identity = f"{identity}_{secrets.token_hex(4)}"
        self._kube = kube
        self._namespace = namespace
        self._name = name
        self._monotonic = monotonic
        self._now = now
        self._sleep = sleep
        self._record: JsonObject | None = None
        """The Lease as last read or written."""
        self._changed_at: float | None = None
        """When we last saw the record change or go; None: there never was one."""
        self._renewed_at: float | None = None
        """When the last successful renewal was sent; None while not leading."""
        self._released = False
        LEADER.set_function(lambda: float(self.may_write()))

    def __repr__(self) -> str:
        return f"<Elector {self.identity} {'leads' if self.leads else 'waits'}>"

    @property
    def leads(self) -> bool:
        """Whether the Lease was taken and neither lost nor released."""
        return self._renewed_at is not None

    def may_write(self) -> bool:
        """Whether a write sent now settles before anyone else can lead."""
        return self._renewed_at is not None and self._monotonic() - self._renewed_at < RENEW_DEADLINE_SECONDS

    async def acquire(self) -> None:
        """Wait until this process leads. The API server being away only makes it wait longer."""
        while not await self._attempt(self._try_to_take):
            await self._sleep(RETRY_SECONDS)

    async def hold(self) -> None:
        """Renew the Lease until it is released. Raises LeaseLost when it is another's, or was not renewed in time."""
        while True:
            await self._sleep(RETRY_SECONDS)
            if self._released:
                return
            if not self.may_write():
                self._renewed_at = None
                raise LeaseLost(f"the Lease was not renewed for {RENEW_DEADLINE_SECONDS:.0f} s")
            await self._attempt(self._renew)

    async def release(self) -> None:
        """Give the Lease back, so that another can lead at once. No write may be open or follow."""
        if self._renewed_at is None:
            return
        self._released = True
        self._renewed_at = None
        # A renewal that was under way may be done in between, so that the first try meets a newer record.
        if not await self._attempt(self._give_back):
            await self._attempt(self._give_back)

    async def _attempt(self, step: Callable[[], Awaitable[bool]]) -> bool:
        """Whether the step was taken; an API server that does not answer, or not in time, is no success."""
        try:
            async with asyncio.timeout(_CALL_SECONDS):
                return await step()
        except (KubeError, TimeoutError) as error:
            logger.warning("the Lease was not reached", extra={"lease": self._name, "cause": str(error) or "time-out"})
            return False

    async def _try_to_take(self) -> bool:
        await self._read()
        sent = self._monotonic()
        if self._changed_at is not None and self._is_held(at=sent):
            return False
        if self._record is None:
            meta = {"name": self._name, "namespace": self._namespace}
            self._note(await self._kube.create(LEASES, self._namespace, {"metadata": meta, "spec": self._taken({})}))
        else:
            await self._put(self._taken(self._record["spec"]))
        self._renewed_at = sent
        return True

    async def _renew(self) -> bool:
        sent = self._monotonic()
        assert self._record is not None
        try:
            await self._put({**self._record["spec"], "renewTime": _microtime(self._now())})
        except (Conflict, NotFound):
            # Either another holds it, or our last renewal was done although its answer was lost.
            await self._read()
            if self._holder() != self.identity and not self._released:
                self._renewed_at = None
                raise LeaseLost(f"the Lease is held by {self._holder() or 'nobody'}") from None
            return False
        if not self._released:
            self._renewed_at = sent
        return True

    async def _give_back(self) -> bool:
        await self._read()
        if self._record is None or self._holder() != self.identity:
            return True
        free = {name: value for name, value in self._record["spec"].items() if name != "holderIdentity"}
        await self._put({**free, "renewTime": _microtime(self._now())})
        return True

    def _is_held(self, *, at: float) -> bool:
        """Whether the last holder may still write. A record that was deleted says nothing, so it counts as just renewed."""
        assert self._changed_at is not None
        spec = self._record["spec"] if self._record else {}
        if self._record and not self._holder():
            return False
        return at - self._changed_at <= max(LEASE_SECONDS, spec.get("leaseDurationSeconds") or 0)

    async def _read(self) -> None:
        try:
            self._note(await self._kube.get(LEASES, self._namespace, self._name))
        except NotFound:
            if self._record is not None:
                self._changed_at = self._monotonic()
            self._record = None

    async def _put(self, spec: JsonObject) -> None:
        assert self._record is not None
        meta = self._record["metadata"]
        kept = {"name": self._name, "namespace": self._namespace, "resourceVersion": meta["resourceVersion"]}
        kept |= {part: meta[part] for part in ("labels", "annotations", "ownerReferences") if part in meta}
        self._note(await self._kube.replace(LEASES, self._namespace, self._name, {"metadata": kept, "spec": spec}))

    def _note(self, record: JsonObject) -> None:
        known = self._record
        if known is None or known["metadata"]["resourceVersion"] != record["metadata"]["resourceVersion"]:
            self._changed_at = self._monotonic()
        self._record = {**record, "spec": record.get("spec") or {}}

    def _holder(self) -> str:
        return str(self._record["spec"].get("holderIdentity") or "") if self._record else ""

    def _taken(self, before: JsonObject) -> JsonObject:
        """The spec of the Lease in our hands; ``before`` is its spec until now."""
        moment = _microtime(self._now())
        return {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": LEASE_SECONDS,
            "acquireTime": moment,
            "renewTime": moment,
            "leaseTransitions": before.get("leaseTransitions", -1) + 1,
        }


def _microtime(moment: datetime) -> str:
    """metav1.MicroTime: RFC 3339 in UTC with six decimals, no more and no fewer."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
