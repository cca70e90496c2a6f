"""A stage for the operator: real ``laneway operator`` processes against the real API server, and a stand-in for the node."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import manifests
from integration.ahead import Ahead
from laneway.kube.client import Kube
from laneway.kube.errors import NotFound
from laneway.kube.resources import AGENT_RUNS, LEASES, MODEL_LANES, PODS, JsonObject
from support.standin import NodeStandIn, node_stand_in
from support.witness import Witness, witness

ROOT = Path(__file__).parents[2]
LEASE = "laneway-operator"
NOBODY = "http://127.0.0.1:9"
"""An address where no gateway answers."""


class Program:
    """One process of ours."""

    def __init__(self, command: tuple[str, ...], identity: str, env: dict[str, str], log: Path) -> None:
        self.identity = identity
        self._log = log
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *command], env=env, stdout=out, stderr=out, cwd=ROOT
            )

    @property
    def code(self) -> int | None:
        """Its exit code; None while it runs."""
        return self._process.poll()

    @property
    def log(self) -> str:
        """All it has said."""
        return self._log.read_text()

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self._process.kill()
        self._process.wait()

    def pause(self) -> None:
        """SIGSTOP."""
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """SIGCONT."""
        self._process.send_signal(signal.SIGCONT)

    def terminate(self) -> None:
        """SIGTERM."""
        self._process.terminate()


@dataclass
class Stage:
    """One namespace with a node stand-in, operators, and witnesses of runs and pods from the beginning."""

    kube: Kube
    namespace: str
    kubeconfig: str
    folder: Path
    node: NodeStandIn
    runs: Witness
    pods: Witness
    operators: list[Program] = field(default_factory=list)
    gateways: list[Program] = field(default_factory=list)
    settings: dict[str, str] = field(default_factory=dict)
    """Variables for operators started from now on, over the usual ones."""
    ahead: Ahead | None = None
    """The clock of operators and gateways started from now on; None: the machine's."""

    def end(self) -> None:
        """Kill operators and gateways, and print what they said for the report of a failure."""
        for program in (*self.operators, *self.gateways):
            program.kill()
            print(f"--- {program.identity}\n{program.log}")

    def own_clock(self) -> Ahead:
        """Give operators and gateways that are started from now on a clock that the test moves."""
        self.ahead = Ahead(self.folder / "clock")
        return self.ahead

    def start(self) -> Program:
        """Start an operator; it serves this namespace alone and has its Lease in it."""
        identity = f"operator-{len(self.operators)}"
        given = {
            "LANEWAY_POD_NAME": identity,
            "LANEWAY_GATEWAY_URL": NOBODY,
            "LANEWAY_GATEWAY_OPERATOR_URL": NOBODY,
            "LANEWAY_AGENT_IMAGE": "laneway:test",
            "LANEWAY_LEASE_NAME": LEASE,
            "LANEWAY_HEALTH_PORT": "0",
        }
        operator = Program(self._command("operator"), identity, self._env(given), self.folder / f"{identity}.log")
        self.operators.append(operator)
        return operator

    def listen(self) -> None:
        """Choose where the gateway will listen, for operators and gateways started from now on."""
        calls, control = free_ports(2)
        self.settings |= {
            "LANEWAY_CALL_PORT": str(calls),
            "LANEWAY_OPERATOR_PORT": str(control),
            "LANEWAY_GATEWAY_URL": f"http://127.0.0.1:{calls}",
            "LANEWAY_GATEWAY_OPERATOR_URL": f"http://127.0.0.1:{control}",
        }

    def start_gateway(self) -> Program:
        """Start the gateway, on the same ports and ledger every time; agents are known by their token alone."""
        identity = f"gateway-{len(self.gateways)}"
        given = {"LANEWAY_LEDGER_PATH": str(self.folder / "ledger.db"), "LANEWAY_BIND_POD_ADDRESS": "false"}
        gateway = Program(self._command("gateway"), identity, self._env(given), self.folder / f"{identity}.log")
        self.gateways.append(gateway)
        return gateway

    def _command(self, program: str) -> tuple[str, ...]:
        return ("integration.ahead", program, str(self.ahead.file)) if self.ahead else ("laneway", program)

    def _env(self, given: dict[str, str]) -> dict[str, str]:
        return {
            **os.environ,
            "KUBECONFIG": self.kubeconfig,
            "PYTHONPATH": f"{ROOT / 'operator'}{os.pathsep}{ROOT / 'tests'}",
            "LANEWAY_POD_NAMESPACE": self.namespace,
            "LANEWAY_WATCH_NAMESPACES": self.namespace,
            "LANEWAY_METRICS_PORT": "0",
            "LANEWAY_LOG_FORMAT": "text",
            **given,
            **self.settings,
        }

    async def free_lease(self) -> None:
        """Take the Lease of a killed operator away: waiting until it expires is shown elsewhere."""
        await self.kube.delete(LEASES, self.namespace, LEASE)

    async def holder(self) -> str:
        """Who holds the Lease, by the name of the replica; empty if nobody does."""
        with suppress(NotFound):
            lease = await self.kube.get(LEASES, self.namespace, LEASE)
            return str(lease["spec"].get("holderIdentity") or "").partition("_")[0]
        return ""

    def lane(self, spec: dict[str, Any] | None = None, *, name: str = "local", slots: int = 4) -> JsonObject:
        """A Direct lane with so many slots."""
        given = manifests.merged({"access": "Direct", "capacity": {"runs": slots}}, spec or {})
        return manifests.lane(given, name=name)

    async def add_lane(self, spec: dict[str, Any] | None = None, *, name: str = "local", slots: int = 4) -> JsonObject:
        """Make a Direct lane with so many slots."""
        return await self.kube.create(MODEL_LANES, self.namespace, self.lane(spec, name=name, slots=slots))

    async def resize(self, slots: int) -> JsonObject:
        """Give lane ``local`` so many slots."""
        return await self.kube.merge_patch(
            MODEL_LANES, self.namespace, "local", {"spec": {"capacity": {"runs": slots}}}
        )

    async def lane_says(self, **counts: int) -> JsonObject:
        """Wait until the status of lane ``local`` has these counts; answers the lane."""

        async def read() -> bool:
            status = (await self.kube.get(MODEL_LANES, self.namespace, "local")).get("status") or {}
            return counts.items() <= status.items()

        await self.until(read, answer=True)
        return await self.kube.get(MODEL_LANES, self.namespace, "local")

    async def add_run(self, name: str = "hello", spec: dict[str, Any] | None = None, **meta: Any) -> JsonObject:
        """Make a run of preset ``generic``, whose log nobody reads."""
        plain = manifests.run({"agent": {"preset": "generic", "image": "agent:test"}}, name=name, **meta)
        return await self.kube.create(AGENT_RUNS, self.namespace, manifests.merged(plain, {"spec": spec or {}}))

    async def change(self, name: str, spec: dict[str, Any]) -> JsonObject:
        """Merge something into a run's spec."""
        return await self.kube.merge_patch(AGENT_RUNS, self.namespace, name, {"spec": spec})

    async def run(self, name: str = "hello") -> JsonObject:
        """A run as it is now."""
        return await self.kube.get(AGENT_RUNS, self.namespace, name)

    def last(self, uid: str) -> JsonObject:
        """A run as the witness last saw it; empty before that."""
        return self.runs.objects().get(uid, {})

    async def condition(self, run: JsonObject, kind: str, reason: str, *, seconds: float = 20.0) -> JsonObject:
        """Wait until a run's condition has this reason; answers the condition."""
        uid = run["metadata"]["uid"]

        def there() -> bool:
            return condition(self.last(uid), kind).get("reason") == reason

        try:
            await self.runs.until(there, seconds=seconds)
        except AssertionError as error:
            raise AssertionError(f"{kind} is not {reason} but {condition(self.last(uid), kind)}") from error
        return condition(self.last(uid), kind)

    async def finished(self, *runs: JsonObject, seconds: float = 20.0) -> list[JsonObject]:
        """Wait until runs have ended; answers them as they ended."""
        uids = [run["metadata"]["uid"] for run in runs]
        try:
            await self.runs.until(lambda: all(is_finished(self.last(uid)) for uid in uids), seconds=seconds)
        except AssertionError as error:
            left = {
                self.last(uid)["metadata"]["name"]: self.last(uid).get("status", {}).get("reason")
                for uid in uids
                if not is_finished(self.last(uid))
            }
            raise AssertionError(f"not finished: {left}") from error
        return [self.last(uid) for uid in uids]

    async def any_event(self, true: Callable[[], object]) -> None:
        """Wait until something is true of what the witnesses saw."""
        assert await self.within(true, seconds=20), f"not within 20 s: {true}"

    async def within(self, true: Callable[[], object], *, seconds: float) -> bool:
        """Whether something became true of what the witnesses saw, in time."""
        deadline = time.monotonic() + seconds
        while not true():
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.001)
        return True

    async def tick(self, run: JsonObject) -> None:
        """Wait until an object made from now on has a later creation time, which counts whole seconds."""
        made = datetime.fromisoformat(run["metadata"]["creationTimestamp"])
        await self.within(lambda: datetime.now(UTC) >= made + timedelta(seconds=1.01), seconds=3)

    async def ready(self, operator: Program) -> None:
        """Wait until a replica stands by or leads: it has said so at its health port."""
        await self.any_event(lambda: "standing by" in operator.log)

    async def left(self, operator: Program) -> None:
        """Wait until an operator process has ended."""
        await self.any_event(lambda: operator.code is not None)

    async def position(self, run: JsonObject, place: int) -> None:
        """Wait until a run stands at this place of its queue."""
        uid = run["metadata"]["uid"]
        await self.runs.until(lambda: self.last(uid).get("status", {}).get("queue", {}).get("position") == place)

    async def gone(self, pod: JsonObject) -> None:
        """Wait until a pod is gone."""
        uid = pod["metadata"]["uid"]
        await self.pods.until(
            lambda: any(
                event.type == "DELETED" and event.object["metadata"]["uid"] == uid for event in self.pods.events
            )
        )

    async def until(self, question: Callable[[], Awaitable[object]], answer: object, *, seconds: float = 20.0) -> None:
        """Ask the API server until it gives this answer."""
        deadline = time.monotonic() + seconds
        while (last := await question()) != answer:
            assert time.monotonic() < deadline, f"not {answer!r} within {seconds} s but {last!r}"
            await asyncio.sleep(0.05)

    async def has_pod(self, run: JsonObject, *, phase: str | None = None, number: int = 1) -> JsonObject:
        """Wait until a run had so many pods (the last one in ``phase``); answers the last."""
        uid = run["metadata"]["uid"]

        def mine() -> list[JsonObject]:
            pods = self.pods.objects().values()
            return [pod for pod in pods if pod["metadata"].get("labels", {}).get("laneway.dev/run-uid") == uid]

        await self.pods.until(
            lambda: len(mine()) >= number and phase in {None, mine()[-1].get("status", {}).get("phase")}
        )
        return mine()[-1]


def condition(run: JsonObject, kind: str) -> JsonObject:
    """One condition of an object; empty if it is not there."""
    conditions = (run.get("status") or {}).get("conditions") or ()
    return next((one for one in conditions if one["type"] == kind), {})


def is_finished(run: JsonObject) -> bool:
    """Whether a run has ended."""
    return condition(run, "Finished").get("status") == "True"


_PORTS = range(20_000, 30_000)
"""Below those that Linux gives to whoever asks for any: a port that is free when it is chosen stays so until it is used."""


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on."""
    found: list[int] = []
    with ExitStack() as stack:
        for port in random.sample(_PORTS, len(_PORTS)):
            if len(found) == count:
                break
            with suppress(OSError):
                stack.enter_context(socket.create_server(("", port)))
                found.append(port)
    return found


@asynccontextmanager
async def staged(kube: Kube, *, kubeconfig: str, namespace: str, folder: Path) -> AsyncIterator[Stage]:
    """A stage, which ends when it is left."""
    async with (
        witness(kube, AGENT_RUNS, namespace) as runs,
        witness(kube, PODS, namespace) as pods,
        node_stand_in(kube, kubeconfig=kubeconfig, namespace=namespace) as node,
    ):
        stage = Stage(kube, namespace, kubeconfig, folder, node, runs, pods)
        try:
            yield stage
        finally:
            stage.end()


async def silence(seen: Witness, *, seconds: float) -> int:
    """How many events came within so many seconds."""
    before, until = len(seen.events), time.monotonic() + seconds
    while time.monotonic() < until:
        await asyncio.sleep(0.1)
    return len(seen.events) - before
