"""From a parsed command line to the command, and from its errors to words and an exit code."""

from __future__ import annotations

import argparse
import asyncio
import sys

from laneway.api.grouping import GroupBy
from laneway.cli import asking, cooldowns, listing, logs, manifest, retry, steering, submit, top, usage
from laneway.cli.door import CommandError, Door, RunFailedError, TimedOutError, in_words, opened
from laneway.cli.parser import PROGRAM
from laneway.cli.spans import since_of
from laneway.kube.errors import KubeError
from laneway.settings import wants_colours

_FAILED, _RUN_FAILED, _TIMED_OUT = 1, 3, 4
_OF_RUNS = {
    "why": asking.why,
    "suspend": steering.suspend,
    "resume": steering.resume,
    "cancel": steering.cancel,
    "retry": retry.retry,
}


def run(options: argparse.Namespace) -> int:
    """Run the command; what goes wrong is said on stderr. Answers the exit code."""
    try:
        asyncio.run(_run(options))
    except RunFailedError as error:
        return _said(str(error), _RUN_FAILED)
    except TimedOutError as error:
        return _said(str(error), _TIMED_OUT)
    except CommandError as error:
        return _said(str(error), _FAILED)
    except KubeError as error:
        return _said(in_words(error), _FAILED)
    return 0


def _said(why: str, code: int) -> int:
    sys.stdout.flush()
    sys.stderr.write(f"{PROGRAM}: {why}\n")
    return code


async def _run(options: argparse.Namespace) -> None:
    prompt = submit.prompt_of(options.prompt, options.file) if options.command == "submit" else ""
    async with opened(
        namespace=options.namespace,
        kubeconfig=options.kubeconfig,
        context=options.context,
        colours=sys.stdout.isatty() and wants_colours(),
    ) as door:
        match options.command:
            case "list" | "lanes":
                await _list(door, options)
            case "top":
                await top.top(
                    door,
                    everywhere=options.all_namespaces,
                    selector=options.selector,
                    once=options.once,
                    every=options.every,
                )
            case "logs":
                await logs.logs(door, options.run, _logs_wanted(options))
            case "usage":
                await usage.usage(door, _usage_wanted(door, options))
            case "submit":
                await _submit(door, options, prompt)
            case "cooldown":
                await _cooldown(door, options)
            case command:
                await _OF_RUNS[command](door, options.run)


async def _list(door: Door, options: argparse.Namespace) -> None:
    show = listing.runs if options.command == "list" else listing.lanes
    await show(door, everywhere=options.all_namespaces, selector=options.selector, output=options.output)


def _logs_wanted(options: argparse.Namespace) -> logs.Wanted:
    return logs.Wanted(
        follow=options.follow,
        previous=options.previous,
        tail=options.tail,
        timestamps=options.timestamps,
        attempt=options.attempt,
    )


def _usage_wanted(door: Door, options: argparse.Namespace) -> usage.Wanted:
    try:
        since = since_of(options.since, door.now) if options.since else None
    except ValueError as error:
        raise CommandError(str(error)) from error
    return usage.Wanted(
        by=GroupBy(options.by),
        run=options.run,
        since=since,
        ledger=options.ledger,
        everywhere=options.all_namespaces,
        selector=options.selector,
        output=options.output,
        gateway_namespace=options.gateway_namespace,
    )


async def _submit(door: Door, options: argparse.Namespace, prompt: str) -> None:
    try:
        described = manifest.Described(
            prompt=prompt,
            lanes=options.lanes,
            namespace=door.namespace,
            models=options.models,
            name=options.name,
            generate_name=options.generate_name,
            title=options.title,
            caller=options.caller,
            priority=options.priority,
            preset=options.preset,
            image=options.image,
            env=options.env,
            labels=options.label,
            limit_cost=options.limit_cost,
            limit_tokens=options.limit_tokens,
            limit_turns=options.limit_turns,
            ttl=options.ttl,
        )
        made = manifest.manifest_of(described)
    except ValueError as error:
        raise CommandError(str(error)) from error
    then = submit.Then(
        dry_run=options.dry_run,
        output=options.output,
        wait=options.wait,
        follow=options.follow,
        timeout=options.timeout,
    )
    await submit.submit(door, made, then)


async def _cooldown(door: Door, options: argparse.Namespace) -> None:
    match options.action:
        case "set":
            try:
                until = cooldowns.until_of(options.span, options.until, door.now)
            except ValueError as error:
                raise CommandError(str(error)) from error
            await cooldowns.hold(door, options.lane, options.model, until)
        case "clear":
            await cooldowns.clear(door, options.lane, options.model)
        case _:
            await cooldowns.show(door, options.lane, options.model)
