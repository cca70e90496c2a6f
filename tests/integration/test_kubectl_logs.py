"""``kubectl laneway logs`` where real runs come and go: across attempts, through a stream that breaks, and when pods are gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from integration.operators import Stage
from integration.plugin import Plugin
from support.kubeletport import Logs, kubelet_port
from support.standin import Part

AGAIN = {"rounds": {"max": 2, "delaySeconds": 1}}
"""One attempt follows another."""


@pytest.fixture
async def logs(stage: Stage) -> AsyncIterator[Logs]:
    await stage.add_lane()
    async with kubelet_port(stage.node, kubeconfig=stage.kubeconfig, text="first\nsecond\nthird\n") as logs:
        stage.start()
        yield logs


class Following:
    """A ``kubectl laneway`` that goes on."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def line(self) -> str:
        """The next line of its output."""
        assert self._process.stdout is not None
        return (await asyncio.wait_for(self._process.stdout.readline(), 60)).decode()

    async def rest(self) -> tuple[str, str, int]:
        """What is left of its output, all of its words on stderr, and its exit code, once it has ended."""
        out, err = await asyncio.wait_for(self._process.communicate(), 60)
        return out.decode(), err.decode(), self._process.returncode or 0

    async def interrupt(self) -> int:
        """Ctrl-C; answers its exit code."""
        self._process.send_signal(2)
        return await asyncio.wait_for(self._process.wait(), 60)


@asynccontextmanager
async def follow(laneway: Plugin, *arguments: str) -> AsyncIterator[Following]:
    """Start a command; it ends with the test."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *laneway.command(*arguments), env=laneway.env, stdout=pipe, stderr=pipe
    )
    try:
        yield Following(process)
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


async def test_what_was_written_in_all_attempts_is_printed_and_which_is_said_on_stderr(
    stage: Stage, laneway: Plugin, logs: Logs
) -> None:
    run = await stage.add_run(spec=AGAIN)
    [ended] = await stage.finished(run)
    first, second = (one["pod"] for one in ended["status"]["attempts"])
    answer = await laneway.ask("logs", "hello")
    assert (answer.code, answer.out) == (0, "first\nsecond\nthird\n" * 2)
    assert answer.err == (
        f"attempt 1 of hello on local/smollm2, pod {first}\nattempt 2 of hello on local/smollm2, pod {second}\n"
    )
    assert (await laneway.ask("logs", "hello", "--attempt", "2", "--tail", "1")).out == "third\n"
    stamped = await laneway.ask("logs", "hello", "--previous", "--tail", "2", "--timestamps")
    assert stamped.out == "2026-03-01T12:00:01.5Z second\n2026-03-01T12:00:02.5Z third\n"
    assert stamped.err == f"attempt 1 of hello on local/smollm2, pod {first}\n"
    none = await laneway.ask("logs", "hello", "--attempt", "7")
    assert (none.code, none.err) == (1, "kubectl laneway: hello has no attempt 7; its status has 1 to 2\n")


async def test_who_follows_is_led_from_one_attempt_to_the_next_and_ends_with_the_run(
    stage: Stage, laneway: Plugin, logs: Logs
) -> None:
    part = stage.node.play("hello", Part.held())
    run = await stage.add_run(spec={**AGAIN, "suspend": True})
    async with follow(laneway, "logs", "hello", "-f") as following:
        await stage.condition(run, "Admitted", "Suspended")
        await stage.change("hello", {"suspend": False})
        first = await stage.has_pod(run, phase="Running")
        log = logs.follow(first["metadata"]["name"], "one\n")
        assert await following.line() == "one\n"
        log.write("two\n")
        assert await following.line() == "two\n"
        log.end()
        again = stage.node.play("hello", Part.held())
        part.released.set()
        second = await stage.has_pod(run, phase="Running", number=2)
        assert second["metadata"]["name"] != first["metadata"]["name"]
        logs.follow(second["metadata"]["name"], "three\n").end()
        assert await following.line() == "three\n"
        again.released.set()
        out, err, code = await following.rest()
        assert (out, code) == ("", 0)
        told = [line.split(" on ")[0] for line in err.splitlines() if line.startswith("attempt ")]
        assert told == ["attempt 1 of hello", "attempt 2 of hello"]
        assert err.splitlines()[-1].startswith("hello ended well as Completed")


async def test_a_stream_that_breaks_is_taken_up_behind_its_last_line(stage: Stage, laneway: Plugin, logs: Logs) -> None:
    part = stage.node.play("hello", Part.held())
    run = await stage.add_run()
    pod = await stage.has_pod(run, phase="Running")
    log = logs.follow(pod["metadata"]["name"], "one\n", "two\n")
    logs.breaks = 2
    async with follow(laneway, "logs", "hello", "-f") as following:
        assert [await following.line(), await following.line()] == ["one\n", "two\n"]
        log.write("three\n")
        assert await following.line() == "three\n"
        log.end()
        part.released.set()
        out, err, code = await following.rest()
        assert (out, code) == ("", 0), err


async def test_of_a_pod_that_is_gone_the_kept_end_of_the_log_is_shown_or_that_it_is_gone(
    stage: Stage, laneway: Plugin, logs: Logs
) -> None:
    stage.node.play("hello", Part(exit_code=3, message="failed"))
    failed = await stage.add_run(spec={"podTTLSeconds": 0})
    well = await stage.add_run("well", spec={"podTTLSeconds": 0})
    [ended, _] = await stage.finished(failed, well)
    for run in (failed, well):
        await stage.gone(await stage.has_pod(run))
    answer = await laneway.ask("logs", "hello")
    assert answer.out == "first\nsecond\nthird\n"
    kept = ended["status"]["result"]["logConfigMap"]
    assert answer.err.endswith(f"its pod is gone; this is the end of its log, as ConfigMap {kept} keeps it\n")
    gone = await laneway.ask("logs", "well", "-f")
    assert (gone.code, gone.out) == (0, "")
    assert "its pod is gone, and its log with it\nwell ended well as Completed" in gone.err


async def test_a_run_without_an_attempt_has_no_log_and_ctrl_c_ends_the_wait(
    stage: Stage, laneway: Plugin, logs: Logs
) -> None:
    run = await stage.add_run(spec={"suspend": True})
    await stage.condition(run, "Admitted", "Suspended")
    none = await laneway.ask("logs", "hello")
    assert (none.code, none.out) == (1, "")
    assert "hello has had no attempt yet; what it waits for: kubectl laneway why hello" in none.err
    async with follow(laneway, "logs", "hello", "-f") as following:
        assert following._process.stderr is not None
        waits = (await asyncio.wait_for(following._process.stderr.readline(), 60)).decode()
        assert waits.startswith("hello waits (Suspended)")
        assert await following.interrupt() == 130
