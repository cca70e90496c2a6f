"""The processes of a cluster: started each in a session of its own, with a log and a pid file, and found again later."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from local.console import StepError, last_lines

POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Processes:
    """The processes that write their pids and logs below one state folder."""

    run: Path

    def log(self, name: str) -> Path:
        """Where a process writes what it has to say."""
        return self.run / "log" / f"{name}.log"

    def start(self, name: str, command: list[str]) -> None:
        """Starts one process that outlives this one."""
        self.log(name).parent.mkdir(parents=True, exist_ok=True)
        (self.run / "pids").mkdir(parents=True, exist_ok=True)
        with self.log(name).open("ab") as out:
            process = subprocess.Popen(
                command, cwd=self.run, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
            )
        (self.run / "pids" / name).write_text(f"{process.pid} {started_at(process.pid)}")

    def names(self) -> list[str]:
        """The processes that were started."""
        folder = self.run / "pids"
        return sorted(file.name for file in folder.iterdir()) if folder.exists() else []

    def pid(self, name: str) -> int | None:
        """The process id, or None when it has ended (a pid that now belongs to another process counts as ended)."""
        file = self.run / "pids" / name
        if not file.exists():
            return None
        pid, started = file.read_text().split()
        return int(pid) if started_at(int(pid)) == started else None

    def wait(self, name: str, ready: Callable[[], bool], *, seconds: float) -> None:
        """Polls until `ready`; a failure when the process has died or the time is over."""
        step, log = f"starting {name}", self.log(name)
        deadline = time.monotonic() + seconds
        while not ready():
            if self.pid(name) is None:
                raise StepError(
                    step,
                    f"{name} ended at once: {last_lines(log)}",
                    "look at the log, then hack/cluster down and up",
                    log,
                )
            if time.monotonic() > deadline:
                raise StepError(
                    step,
                    f"{name} was not ready within {seconds:.0f} s: {last_lines(log)}",
                    "look at the log; is the machine busy?",
                    log,
                )
            time.sleep(POLL_SECONDS)


def started_at(pid: int) -> str:
    """The start time of a process in clock ticks since boot, which with its pid names it for good; empty when it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return "" if fields[0] == "Z" else fields[19]


def running_from(programs: Path, run: Path) -> list[int]:
    """Processes of a cluster, whether their pid files are still there or not: one of our programs, with the state folder in its arguments."""
    found = []
    for pid in all_pids():
        words = arguments(pid)
        ours = _program(pid).startswith(f"{programs.resolve()}/") or any(
            word.endswith("/hack/local/volumes.py") for word in words
        )
        if ours and any(f"{run}/" in word for word in words):
            found.append(pid)
    return found


def all_pids() -> list[int]:
    """Every process of this machine that can be seen."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def arguments(pid: int) -> list[str]:
    """A process's arguments; empty when it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except (FileNotFoundError, ProcessLookupError):
        return []


def children(parent: int) -> list[int]:
    """The processes whose parent this is."""
    found = []
    for pid in all_pids():
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[1]) == parent:
            found.append(pid)
    return found


def kill(pids: Iterable[int]) -> None:
    """Ends processes at once and waits up to two seconds until they are gone."""
    waiting = list(pids)
    for pid in waiting:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    deadline = time.monotonic() + 2
    while any(started_at(pid) for pid in waiting) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)


def _program(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/exe")
    except OSError:  # it has ended, or is a thread of the kernel
        return ""
