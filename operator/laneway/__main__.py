"""``laneway SUBCOMMAND``: each subcommand imports only what it needs."""

from __future__ import annotations

import argparse
import gc
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from laneway import __version__
from laneway.api.grouping import GroupBy
from laneway.settings import SettingsError, log_settings_or_default

_SERVICES = frozenset({"operator", "gateway"})


def main(argv: list[str] | None = None) -> int:
    """Run one subcommand and answer its exit code."""
    parser = argparse.ArgumentParser(
        prog="laneway", description="AI agents on Kubernetes, and fair queues for their models"
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("operator", help="reconcile AgentRuns and ModelLanes")
    commands.add_parser("gateway", help="carry, meter and key the model calls of agent pods")
    commands.add_parser("agent", help="the built-in agent: one prompt in, stream-json out")
    crds = commands.add_parser("crds", help="write the CustomResourceDefinitions")
    crds.add_argument("folders", nargs="*", default=["crds", "helm/laneway/files/crds"], help="where to write them")
    _add_ledger(commands.add_parser("ledger", help="read the gateway's ledger"))
    options = parser.parse_args(argv)
    try:
        return _run(options)
    except SettingsError as error:
        _complain(options.command, str(error))
        return 2


def _complain(command: str, what: str) -> None:
    """Whoever collects the logs of a service gets a line as always; a person at a terminal a sentence."""
    if command not in _SERVICES:
        sys.stderr.write(f"laneway {command}: {what}\n")
        return
    from laneway import logs

    logs.setup(log_settings_or_default())
    logging.getLogger(__name__).error("a setting is missing or wrong", extra={"cause": what})


def _add_ledger(ledger: argparse.ArgumentParser) -> None:
    actions = ledger.add_subparsers(dest="action", required=True)
    export = actions.add_parser(
        "export", help="write its rows, one for each model call, in the order in which the calls began"
    )
    export.add_argument("--format", choices=["jsonl", "csv"], default="jsonl", help="default: jsonl")
    usage = actions.add_parser("usage", help="write what calls have used, summed, one JSON object for each group")
    usage.add_argument(
        "--by", choices=[by.value for by in GroupBy], required=True, help="what to sum by; a day is one in UTC"
    )
    for action in (export, usage):
        action.add_argument(
            "--since", metavar="TIME", help="calls that began then or later: 2026-11-21 or 2026-11-21T09:30:00Z"
        )
        action.add_argument("--until", metavar="TIME", help="calls that began before")
        action.add_argument("--namespace", help="calls of runs of this namespace")
        action.add_argument("--run", metavar="UID", help="calls of the run with this uid")


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
        case "ledger":
            from laneway.gateway import ledgerexport, ledgerusage
            from laneway.settings import ledger_path

            wanted = ledgerexport.wanted_of(options)
            if options.action == "usage":
                return ledgerusage.run(ledger_path(), wanted, GroupBy(options.by))
            return ledgerexport.run(ledger_path(), wanted, options.format)
        case _:
            from laneway.api import crds

            return crds.write(options.folders)


if __name__ == "__main__":
    sys.exit(main())
