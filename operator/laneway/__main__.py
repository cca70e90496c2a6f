"""``laneway SUBCOMMAND``: each subcommand imports only what it needs."""

from __future__ import annotations

import argparse
import sys

from laneway import __version__
from laneway.settings import SettingsError


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
    options = parser.parse_args(argv)
    try:
        return _run(options)
    except SettingsError as error:
        sys.stderr.write(f"laneway {options.command}: {error}\n")
        return 2


def _run(options: argparse.Namespace) -> int:
    match options.command:
        case "operator":
            from laneway.controller import main as command
            from laneway.settings import operator_settings

            return command.run(operator_settings())
        case "gateway":
            from laneway.gateway import main as gateway
            from laneway.settings import gateway_settings

            return gateway.run(gateway_settings())
        case "agent":
            from laneway.agent import runner
            from laneway.settings import agent_settings

            return runner.run(agent_settings())
        case _:
            from laneway.api import crds

            return crds.write(options.folders)


if __name__ == "__main__":
    sys.exit(main())
