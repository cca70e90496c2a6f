"""Soaks the gateway and reports: the exit code is 0 when every oracle holds, 1 when one does not.

hack/soak [--calls N] [--seconds N] [--kills N] [--seed N] [--record]      brings the control plane and a network of its own
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from bench import doors, machine
from bench.load import beside
from bench.programs import ROOT, Program, python, read
from bench.report import MET, Part, Report
from integration.operators import free_ports
from soak import oracle, samples, stand
from soak.drive import Gateway, Outcome, Parts, Size, Soak
from soak.reading import errors_in, rows_of, sums_of
from soak.sights import End

PAGE = ROOT / "docs" / "reliability.md"
_CLIENTS = 48
_ERRORS_SHOWN = 5
_LOOPBACK = "127.0.0.1"


def main() -> int:
    """Reads the command line, soaks, and reports."""
    asked = _arguments()
    size = Size(asked.calls, asked.seconds, _CLIENTS, asked.kills, asked.seed)
    folder = Path(tempfile.mkdtemp())
    print(f"{size.calls:,} calls, seed {size.seed}; logs and ledger, until it ends well: {folder}", flush=True)
    began = time.monotonic()
    outcome, left = asyncio.run(_soak(size, str(asked.kubeconfig), asked.address, folder))
    report = Report(machine.shape(), (_part(outcome, left, size, time.monotonic() - began),))
    print(f"\n{report.table()}\n")
    if asked.record:
        report.record(PAGE)
    if report.code == MET:
        shutil.rmtree(folder)
    return report.code


async def _soak(size: Size, kubeconfig: str, address: str, folder: Path) -> tuple[Outcome, Gateway]:
    [port] = free_ports(1)
    ports = free_ports(3)
    url = f"http://{address}:{port}"
    scene = await stand.build(kubeconfig, folder, server=url)

    async def gateway(life: int) -> Gateway:
        door, ready = doors.start_gateway(scene.stand, ports=ports)
        if door.program is None:
            raise RuntimeError("the gateway is a program")
        await _ready(door.program, ready)
        calls, control, shown = (f"http://{_LOOPBACK}:{one}" for one in ports)
        return Gateway(door.program, calls, control, f"{shown}/metrics", doors.ledger_of(scene.stand, ports[0]))

    async def server(life: int) -> Program:
        command = python("soak.modelserver", address, str(port), str(size.seed), str(life))
        program = Program(beside(command), scene.stand.folder / "modelserver.log")
        await _ready(program, f"{url}/v1/models")
        return program

    soak = Soak(Parts(gateway, server, f"{url}/counts", scene.secret), size, scene.agents)
    left = await soak.run()
    return soak.outcome, left


def _part(outcome: Outcome, left: Gateway, size: Size, seconds: float) -> Part:
    if outcome.state is None or outcome.rest is None:
        raise RuntimeError("the gateway did not tell its state at the end")
    rows, told = rows_of(left.ledger), sums_of(outcome.state)
    made = len(outcome.notes.sights)
    early = "" if made >= size.calls else f" of {size.calls:,} that were asked for: the time was up"
    words = (
        f"soak: {made:,} calls{early} by {size.clients} clients in {seconds:.0f} s, seed {size.seed};"
        f" gateway killed {len(outcome.kills)} times."
    )
    errors = errors_in(left.program.said)
    print(*errors[:_ERRORS_SHOWN], sep="\n", end="\n" if errors else "")
    judged = oracle.figures(outcome.notes.sights, outcome.kills, rows, told, outcome.rest, errors=len(errors))
    refusals = Counter(one.refusal for one in outcome.notes.sights if one.end is End.REFUSED_BY_GATEWAY)
    return Part(
        f"{words} The model server's answers, as far as it told before it was killed: {_counted(outcome.faults)}."
        f" The gateway's own refusals: {_counted(refusals)}.",
        (*judged, *samples.figures(outcome.lives)),
        (),
    )


def _counted(counts: Counter[str]) -> str:
    return "; ".join(f"{name}: {count:,}" for name, count in counts.most_common())


async def _ready(program: Program, url: str) -> None:
    """Wait for its first answer; whoever does not get one leaves nothing running."""

    async def answers() -> bool:
        return bool(await read(url))

    try:
        await program.until(answers)
    except BaseException:
        program.stop()
        raise


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument(
        "--address", required=True, help="of this machine, for the model server; the gateway refuses 127.0.0.1"
    )
    parser.add_argument("--calls", type=int, default=30_000)
    parser.add_argument("--seconds", type=float, default=3600.0, help="no call begins later")
    parser.add_argument("--kills", type=int, default=4, help="of the gateway, and of the model server")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--record", action="store_true", help="write the results into docs/reliability.md")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
