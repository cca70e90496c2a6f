"""Plays the scenario again and again, each time with other faults: the exit code is 0 when every trial came to the same end, 1 when one did not.

hack/crash [--seconds N] [--seed N] [--at-once N] [--record]      brings the control plane
"""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import redirect_stdout
from pathlib import Path

from bench.machine import shape
from crash.kinds import judged
from crash.metered import metered
from crash.plan import Planned, plan
from crash.scene import direct
from crash.table import Result, Table
from crash.trial import Outcome, Scenario, trial
from laneway.kube.errors import KubeError

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"


class Crash:
    """All trials, some at once."""

    def __init__(self, asked: argparse.Namespace, folder: Path) -> None:
        self._asked = asked
        self._folder = folder
        self._out = sys.stdout
        self.results: list[Result] = []
        self.left = 0
        """Trials that were not begun in time."""

    async def run(self) -> None:
        """Play each scenario without faults, then with every fault, in an order that the seed draws."""
        plain = {scenario: await self._without_faults(scenario) for scenario in (direct, metered)}
        writes = [len(outcome.writes) for outcome in plain.values()]
        planned = plan(*writes, self._asked.seed)
        random.Random(self._asked.seed).shuffle(planned)
        self._say(f"{' and '.join(map(str, writes))} writes without faults; {len(planned)} trials")
        until = time.monotonic() + self._asked.seconds
        trials = iter(planned)
        async with asyncio.TaskGroup() as group:
            for _ in range(self._asked.at_once):
                group.create_task(self._work(trials, plain, until))
        self.left = len(planned) - len(self.results)

    async def _without_faults(self, scenario: Scenario) -> Outcome:
        async with trial(self._asked.kubeconfig, self._folder, scenario) as made:
            return await made.run()

    async def _work(self, trials: Iterator[Planned], plain: Mapping[Scenario, Outcome], until: float) -> None:
        for one in trials:
            if time.monotonic() > until:
                return
            result = await self._try(one, plain[one.scenario])
            self.results.append(result)
            self._say(f"{len(self.results)}  {one.kind}: {'; '.join(result.wrong) or 'same end'}")

    async def _try(self, one: Planned, plain: Outcome) -> Result:
        async with trial(self._asked.kubeconfig, self._folder, one.scenario) as made:
            faults = made.proxy.faults = one.faults(made)
            try:
                outcome = await made.run(lambda found: not plain.ending.differences(found, but=faults.may_differ))
            except (AssertionError, OSError, KubeError) as error:
                return Result(one.kind, faults.count.total(), None, (f"{made.stage.namespace}: {error}",))
        return Result(one.kind, faults.count.total(), outcome, tuple(judged(outcome, plain, faults)))

    def _say(self, words: str) -> None:
        print(words, file=self._out, flush=True)


def main() -> int:
    """Reads the command line, plays, and reports."""
    asked = _arguments()
    folder = Path(tempfile.mkdtemp())
    print(f"logs, until it ends well: {folder}", flush=True)
    crash = Crash(asked, folder)
    with (folder / "said").open("w") as said, redirect_stdout(said):
        asyncio.run(crash.run())
    table = Table(shape(), asked.seed, tuple(crash.results), crash.left)
    print(f"\n{table.markdown()}\n")
    if asked.record:
        table.record(PAGE)
    if table.is_well:
        shutil.rmtree(folder)
    return 0 if table.is_well else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kubeconfig", required=True)
    parser.add_argument("--seconds", type=float, default=7200.0, help="no trial begins later")
    parser.add_argument("--seed", type=int, default=1, help="in which order")
    parser.add_argument("--at-once", type=int, default=2, help="trials at the same time")
    parser.add_argument("--record", action="store_true", help="write the results into docs/reliability.md")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
