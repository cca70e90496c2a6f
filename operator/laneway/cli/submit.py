"""``kubectl laneway submit``: makes a run from flags, and waits for it or follows its log if that is wanted."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import yaml

from laneway.api.reasons import RunCondition
from laneway.cli import logplan, logs
from laneway.cli.asking import asked_of
from laneway.cli.door import CommandError, Door, RunFailedError, TimedOutError
from laneway.cli.following import until
from laneway.cli.why import explain
from laneway.kube.resources import AGENT_RUNS, JsonObject

_STDIN = "-"


@dataclass(frozen=True)
class Then:
    """What follows once the run is made."""

    dry_run: str | None = None
    """client: print the manifest; server: let the API server judge and default it, and make nothing."""
    output: str | None = None
    wait: bool = False
    follow: bool = False
    timeout: float | None = None
    """Seconds of waiting or following; None: however long it takes."""


def prompt_of(prompt: str | None, file: str | None) -> str:
    """The prompt itself, or what a file, or stdin for ``-``, has in it. Raises CommandError."""
    if prompt is not None:
        return prompt
    if file is None:
        raise CommandError("a run needs a prompt: --prompt TEXT, or -f FILE, or -f - for standard input")
    try:
        return sys.stdin.read() if file == _STDIN else Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"the prompt cannot be read: {error}") from error


async def submit(door: Door, manifest: JsonObject, then: Then) -> None:
    """Make the run, and do what follows.

    Raises CommandError; RunFailedError for a run that was waited for and did not end well; TimedOutError; KubeError.
    """
    if then.dry_run == "client":
        _print(manifest, then.output, "created (dry run)")
        return
    made = await door.kube.create(AGENT_RUNS, door.namespace, manifest, dry_run=then.dry_run == "server")
    waits = (then.wait or then.follow) and then.dry_run is None
    if not waits:
        _print(made, then.output, "created (server dry run)" if then.dry_run else "created")
        return
    if then.output is None and not then.follow:
        _print(made, None, "created")
        sys.stdout.flush()
    else:
        sys.stderr.write(f"agentrun.laneway.dev/{made['metadata']['name']} created\n")
    ended = await _ended(door, made, then)
    if then.output is not None:
        _print(ended, then.output, "")
    elif not then.follow:
        sys.stdout.write(f"{explain(asked_of(ended, datetime.now(UTC)))}\n")
    _judge(ended)


async def _ended(door: Door, made: JsonObject, then: Then) -> JsonObject:
    try:
        async with asyncio.timeout(then.timeout):
            if then.follow:
                return await logs.follow(door, made, logs.Wanted(follow=True))
            return await until(door, made, logplan.is_over)
    except TimeoutError as error:
        name = made["metadata"]["name"]
        raise TimedOutError(
            f"{name} has not ended within {then.timeout:g} s; it goes on. To see why: kubectl laneway why {name} -n {door.namespace}"
        ) from error


def _judge(ended: JsonObject) -> None:
    succeeded = asked_of(ended, datetime.now(UTC)).condition(RunCondition.SUCCEEDED)
    if succeeded is None or succeeded.status != "True":
        name, reason = ended["metadata"]["name"], succeeded.reason if succeeded else "unknown"
        raise RunFailedError(f"{name} failed as {reason}")


def _print(obj: JsonObject, output: str | None, done: str) -> None:
    obj["metadata"].pop("managedFields", None)
    match output:
        case "json":
            sys.stdout.write(f"{json.dumps(obj, indent=4)}\n")
        case "yaml":
            sys.stdout.write(yaml.safe_dump(obj, sort_keys=False, allow_unicode=True))
        case "name":
            sys.stdout.write(f"agentrun.laneway.dev/{_name(obj)}\n")
        case _:
            sys.stdout.write(f"agentrun.laneway.dev/{_name(obj)} {done}\n")


def _name(obj: JsonObject) -> str:
    meta = obj["metadata"]
    return str(meta.get("name") or f"{meta['generateName']}*")
