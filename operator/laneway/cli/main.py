"""``kubectl laneway``: the script ``kubectl-laneway``, which kubectl finds as its plugin.

Exit codes: 0 done; 1 it could not be done, and stderr says why; 2 the command line is wrong; 130 interrupted.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence

from laneway.cli import asking, cooldowns, listing, steering
from laneway.cli.door import CommandError, Door, in_words, opened
from laneway.cli.parser import PROGRAM, build_parser
from laneway.cli.retry import retry
from laneway.kube.errors import KubeError
from laneway.settings import wants_colours

_INTERRUPTED = 130
_OF_RUNS = {
    "why": asking.why,
    "suspend": steering.suspend,
    "resume": steering.resume,
    "cancel": steering.cancel,
    "retry": retry,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and answer its exit code."""
    options = build_parser().parse_args(argv)
    try:
        asyncio.run(_run(options))
        sys.stdout.flush()
    except CommandError as error:
        return _failed(str(error))
    except KubeError as error:
        return _failed(in_words(error))
    except BrokenPipeError:
        # The reader has seen enough, as head does; what is left in the buffer must not fail at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        return _INTERRUPTED
    return 0


def _failed(why: str) -> int:
    sys.stderr.write(f"{PROGRAM}: {why}\n")
    return 1


async def _run(options: argparse.Namespace) -> None:
    async with opened(
        namespace=options.namespace,
        kubeconfig=options.kubeconfig,
        context=options.context,
        colours=sys.stdout.isatty() and wants_colours(),
    ) as door:
        match options.command:
            case "list" | "lanes":
                await _list(door, options)
            case "cooldown":
                await _cooldown(door, options)
            case command:
                await _OF_RUNS[command](door, options.run)


async def _list(door: Door, options: argparse.Namespace) -> None:
    show = listing.runs if options.command == "list" else listing.lanes
    await show(door, everywhere=options.all_namespaces, selector=options.selector, output=options.output)


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


if __name__ == "__main__":
    sys.exit(main())
