"""The flags and subcommands of ``kubectl laneway``, with kubectl's own names where kubectl has them."""

from __future__ import annotations

import argparse

from laneway import __version__

PROGRAM = "kubectl laneway"


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM, description="See why agent runs wait, and steer them and their lanes.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    why = _command(commands, "why", "say in a paragraph what a run waits for or does, until when, and what to do")
    _run(why)
    return parser


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, does: str
) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=does, description=f"{does[0].upper()}{does[1:]}.", allow_abbrev=False)
    command.add_argument("-n", "--namespace", metavar="NAME", help="default: that of the context")
    command.add_argument("--context", metavar="NAME", help="context of the kubeconfig; default: its current one")
    command.add_argument("--kubeconfig", metavar="FILE", help="default: what KUBECONFIG names, else that of your home")
    return command


def _run(command: argparse.ArgumentParser) -> None:
    command.add_argument("run", metavar="RUN", help="name of an AgentRun")
