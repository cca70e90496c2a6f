"""``laneway SUBCOMMAND``: each subcommand imports only what it needs."""

from __future__ import annotations

import argparse
import gc
import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from laneway import __version__
from laneway.api.grouping import GroupBy
from laneway.settings import SettingsError, log_settings_or_default

_SERVICES = frozenset({"operator", "gateway"})


def main(argv: list[str] | None = None) -> int:
    """Run one subcommand and answer its exit code."""
    options = parser().parse_args(argv)
    try:
        return _COMMANDS[options.command](options)
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


def _operator(options: argparse.Namespace) -> int:
    with _imports():
        from laneway.controller import main as command
        from laneway.settings import operator_settings

    return command.run(operator_settings())


def _gateway(options: argparse.Namespace) -> int:
    with _imports():
        from laneway.gateway import main as command
        from laneway.settings import gateway_settings

    return command.run(gateway_settings())


def _agent(options: argparse.Namespace) -> int:
    from laneway.agent import runner
    from laneway.settings import agent_settings

    return runner.run(agent_settings())


def _crds(options: argparse.Namespace) -> int:
    from laneway.api import crds

    return crds.write(options.folders)


def _check(options: argparse.Namespace) -> int:
    from laneway.cli import check

    return check.run(namespaces=options.namespace, urls=options.answers, seconds=options.seconds)


def _ledger(options: argparse.Namespace) -> int:
    from laneway.gateway.ledger import export, usage
    from laneway.settings import ledger_path

    wanted = export.wanted_of(options)
    if options.action == "usage":
        return usage.run(ledger_path(), wanted, GroupBy(options.by))
    return export.run(ledger_path(), wanted, options.format)


_COMMANDS: Mapping[str, Callable[[argparse.Namespace], int]] = {
    "operator": _operator,
    "gateway": _gateway,
    "agent": _agent,
    "crds": _crds,
    "check": _check,
    "ledger": _ledger,
}


if __name__ == "__main__":
    sys.exit(main())
