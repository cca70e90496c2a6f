"""``laneway SUBCOMMAND``: each subcommand imports only what it needs."""

from __future__ import annotations

import argparse
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from laneway import __version__
from laneway.settings import SettingsError


def main(argv: list[str] | None = None) -> int:
    """Run one subcommand and answer its exit code."""
    options = parser().parse_args(argv)
    try:
        return _run(options)
    except SettingsError as error:
        sys.stderr.write(f"laneway {options.command}: {error}\n")
        return 2


def parser() -> argparse.ArgumentParser:
    """What the command line may say."""
    top = argparse.ArgumentParser(
        prog="laneway", description="AI agents on Kubernetes, and fair queues for their models"
    )
    top.add_argument("--version", action="version", version=__version__)
    commands = top.add_subparsers(dest="command", required=True)
    commands.add_parser("operator", help="reconcile AgentRuns and ModelLanes")
    commands.add_parser("gateway", help="carry, meter and key the model calls of agent pods")
    commands.add_parser("agent", help="the built-in agent: one prompt in, stream-json out")
    crds = commands.add_parser("crds", help="write the CustomResourceDefinitions")
    crds.add_argument("folders", nargs="*", default=["crds", "helm/laneway/files/crds"], help="where to write them")
    _add_check(commands.add_parser("check", help="ask an installation whether it works, as helm test does"))
    _add_ledger(commands.add_parser("ledger", help="read the gateway's ledger"))
    return top


def _add_check(check: argparse.ArgumentParser) -> None:
    check.add_argument("--namespace", action="append", default=[], help="list the kinds here; without one, everywhere")
    check.add_argument(
        "--answers", metavar="URL", action="append", default=[], help="every address of its host must answer 200"
    )
    check.add_argument("--seconds", type=float, default=60.0, help="how long to wait until all is well; default: 60")


def _add_ledger(ledger: argparse.ArgumentParser) -> None:
    export = ledger.add_subparsers(dest="action", required=True).add_parser(
        "export", help="write its rows, one for each model call, in the order in which the calls began"
    )
    export.add_argument("--format", choices=["jsonl", "csv"], default="jsonl", help="default: jsonl")
    export.add_argument(
        "--since", metavar="TIME", help="calls that began then or later: 2026-11-21 or 2026-11-21T09:30:00Z"
    )
    export.add_argument("--until", metavar="TIME", help="calls that began before")
    export.add_argument("--namespace", help="calls of runs of this namespace")
    export.add_argument("--run", metavar="UID", help="calls of the run with this uid")


@contextmanager
def _imports() -> Iterator[None]:
    """What is imported stays: to look for garbage among it is a seventh of the start, and later on a part of each pause."""
    gc.disable()
    yield
    gc.freeze()
    gc.enable()


def _run(options: argparse.Namespace) -> int:
    match options.command:
        case "operator":
            with _imports():
                from laneway.controller import main as command
                from laneway.settings import operator_settings

            return command.run(operator_settings())
        case "gateway":
            with _imports():
                from laneway.gateway import main as gateway
                from laneway.settings import gateway_settings

            return gateway.run(gateway_settings())
        case "agent":
            from laneway.agent import runner
            from laneway.settings import agent_settings

            return runner.run(agent_settings())
        case "check":
            from laneway.cli import check

            return check.run(namespaces=options.namespace, urls=options.answers, seconds=options.seconds)
        case "ledger":
            from laneway.gateway import ledgerexport
            from laneway.settings import ledger_path

            return ledgerexport.run(ledger_path(), ledgerexport.wanted_of(options), options.format)
        case _:
            from laneway.api import crds

            return crds.write(options.folders)


if __name__ == "__main__":
    sys.exit(main())
