"""Measures and reports: the exit code is 0 when every target was met, 1 when one was missed, 2 when the machine was too busy to tell
or could not carry a benchmark.

hack/bench [--full] [--only P1 P2 ...] [--record] [--profile FOLDER]      brings the control plane, its network and the programs
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from bench import admission, begin, calls, control, idle, life, machine
from bench.programs import ROOT
from bench.report import Part, Report

_ALL = ("P1", "P2", "P3", "P4", "P5", "P6", "P7", "P8", "P9", "P10", "P11")
PAGE = ROOT / "docs" / "performance.md"


def main() -> int:
    """Reads the command line, measures, and reports."""
    asked = _arguments()
    shape = machine.shape()
    kubeconfig, folder = str(asked.kubeconfig), Path(tempfile.mkdtemp())
    setting = control.Setting(kubeconfig, asked.programs, folder, asked.full, asked.profile)
    gateway = calls.Setting(kubeconfig, folder, asked.address, asked.rig, asked.litellm, asked.full, asked.profile)
    benchmarks: dict[str, Callable[[], Part]] = {
        "P1": lambda: admission.measure(full=asked.full, run=str(asked.kubeconfig.parents[1])),
        "P2": lambda: asyncio.run(control.throughput(setting)),
        "P3": lambda: asyncio.run(control.refill(setting)),
        "P4": lambda: asyncio.run(begin.begin(full=asked.full)),
        "P5": lambda: asyncio.run(control.writes(setting)),
        "P6": lambda: asyncio.run(idle.idle(setting)),
        "P7": lambda: asyncio.run(calls.first_token(gateway)),
        "P8": lambda: asyncio.run(calls.paced(gateway)),
        "P9": lambda: asyncio.run(calls.throughput(gateway)),
        "P10": lambda: asyncio.run(life.memory(gateway)),
        "P11": lambda: asyncio.run(life.start(gateway)),
    }
    sizes = "full" if asked.full else "quick"
    print(f"{shape}, {sizes} sizes; logs, until it ends well: {folder}", flush=True)
    parts = []
    for name in asked.only:
        parts.append(benchmarks[name]())
        print(f"{name} measured" if parts[-1].figures else parts[-1].size, flush=True)
    shutil.rmtree(folder)  # logs stay only where a benchmark failed
    report = Report(shape, tuple(parts))
    print(f"\n{report.table()}\n")
    asked.out.write_text(report.json())
    print(f"every round: {asked.out}")
    if asked.record:
        report.record(PAGE)
    return report.code


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--programs", type=Path, required=True, help="folder of kube-controller-manager")
    parser.add_argument(
        "--address", required=True, help="of this machine, for the model server; the gateway refuses 127.0.0.1"
    )
    parser.add_argument("--rig", type=Path, required=True, help="mock and load of the gateway's benchmarks")
    parser.add_argument("--litellm", type=Path, required=True, help="LiteLLM's proxy; P9 alone needs it")
    parser.add_argument("--out", type=Path, required=True, help="file for the JSON")
    parser.add_argument("--full", action="store_true", help="the sizes that the targets name")
    parser.add_argument("--only", nargs="+", choices=_ALL, default=_ALL)
    parser.add_argument("--record", action="store_true", help="write the results into docs/performance.md")
    parser.add_argument(
        "--profile", type=Path, help="folder for profiles of operator or gateway; the numbers then do not count"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
