"""The ledger's sums, asked of the gateway in its pod: ``laneway ledger usage`` by exec, as its operator would do it (decision 0039)."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime

from pydantic import ValidationError

from laneway.api.grouping import GroupBy
from laneway.api.ledgersums import LedgerSum
from laneway.cli.door import CommandError, Door
from laneway.kube.errors import Forbidden
from laneway.kube.podstreams import CommandFailedError
from laneway.kube.resources import PODS, JsonObject

_GATEWAY_LABELS = "app.kubernetes.io/part-of=laneway,app.kubernetes.io/component=gateway"
_CONTAINER = "gateway"
_COMMAND = ("python3", "-m", "laneway", "ledger", "usage")
_USAGE_ERROR = 2
_RIGHTS = (
    "the ledger is read in the gateway's pod, which takes the rights to list pods and to exec in them in namespace {}"
)
_ELSE = "what runs that exist have used is in their status: leave --since, --ledger and --by day away"


@dataclass(frozen=True)
class Question:
    """Which calls are summed, and by what."""

    by: GroupBy
    since: datetime | None = None
    namespace: str | None = None
    """That of the runs; None: all."""
    run_uid: str | None = None

    @property
    def command(self) -> list[str]:
        """The command in the gateway's container."""
        given = {
            "--by": self.by.value,
            "--since": self.since.isoformat() if self.since else None,
            "--namespace": self.namespace,
            "--run": self.run_uid,
        }
        return [*_COMMAND, *(word for flag, value in given.items() if value is not None for word in (flag, value))]


async def sums(door: Door, question: Question, *, gateway_namespace: str) -> list[LedgerSum]:
    """The ledger's answer. Raises CommandError, KubeError."""
    try:
        pod = await _gateway(door, gateway_namespace)
        return [_parsed(line) for line in (await _output(door, pod, question)).splitlines()]
    except Forbidden as error:
        rights = _RIGHTS.format(gateway_namespace)
        raise CommandError(f"you may not do that: {error.message}; {rights}; {_ELSE}") from error


async def _gateway(door: Door, namespace: str) -> JsonObject:
    listing = await door.kube.list(PODS, namespace=namespace, label_selector=_GATEWAY_LABELS)
    running = [pod for pod in listing.items if (pod.get("status") or {}).get("phase") == "Running"]
    if not running:
        raise CommandError(
            f"no gateway runs in namespace {namespace}; name its namespace with --gateway-namespace, or {_ELSE}"
        )
    return running[0]


async def _output(door: Door, pod: JsonObject, question: Question) -> str:
    meta = pod["metadata"]
    output = door.streams.run(meta["namespace"], meta["name"], container=_CONTAINER, command=question.command)
    parts = []
    try:
        async with aclosing(output):
            parts = [part async for part in output]
    except CommandFailedError as error:
        if error.code == _USAGE_ERROR:
            raise CommandError(
                f"the gateway does not know that question; use the plugin of its version: {error}"
            ) from error
        raise CommandError(f"the ledger was not read: {error}") from error
    return b"".join(parts).decode()


def _parsed(line: str) -> LedgerSum:
    try:
        return LedgerSum.model_validate_json(line)
    except ValidationError as error:
        raise CommandError(f"the gateway's answer is none of this version's: {line[:200]}") from error
