"""``kubectl laneway``: the script ``kubectl-laneway``, which kubectl finds as its plugin.

Exit codes: 0 done; 1 it could not be done, and stderr says why; 2 the command line is wrong; 130 interrupted.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence

from laneway.cli import asking
from laneway.cli.door import CommandError, Door, in_words, opened
from laneway.cli.parser import PROGRAM, build_parser
from laneway.kube.errors import KubeError

_INTERRUPTED = 130


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
    async with opened(namespace=options.namespace, kubeconfig=options.kubeconfig, context=options.context) as door:
        await _command(door, options)


async def _command(door: Door, options: argparse.Namespace) -> None:
    match options.command:
        case "why":
            await asking.why(door, options.run)


if __name__ == "__main__":
    sys.exit(main())
