"""The flags and subcommands of ``kubectl laneway``, with kubectl's own names where kubectl has them."""

from __future__ import annotations

import argparse
from typing import TypeAlias

from laneway import __version__

PROGRAM = "kubectl laneway"

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM, description="See why agent runs wait, and steer them and their lanes.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _of_run(commands, "why", "say in a paragraph what a run waits for or does, until when, and what to do")
    _of_list(commands, "list", "list the runs")
    _of_list(commands, "lanes", "list the lanes, with the state of each model")
    _of_run(commands, "suspend", "let a run begin no new attempt; the one at work goes on to its end")
    _of_run(commands, "resume", "let a suspended run go on")
    _of_run(commands, "cancel", "stop a run for good, and keep its record")
    _of_run(commands, "retry", "make a new run with the spec of one that has ended")
    _cooldown(commands)
    return parser


def _command(commands: Commands, name: str, does: str) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=does, description=f"{does[0].upper()}{does[1:]}.", allow_abbrev=False)
    command.add_argument("-n", "--namespace", metavar="NAME", help="default: that of the context")
    command.add_argument("--context", metavar="NAME", help="context of the kubeconfig; default: its current one")
    command.add_argument("--kubeconfig", metavar="FILE", help="default: what KUBECONFIG names, else that of your home")
    return command


def _of_run(commands: Commands, name: str, does: str) -> None:
    _command(commands, name, does).add_argument("run", metavar="RUN", help="name of an AgentRun")


def _of_list(commands: Commands, name: str, does: str) -> None:
    command = _command(commands, name, does)
    command.add_argument("-A", "--all-namespaces", action="store_true", help="those of all namespaces")
    command.add_argument("-l", "--selector", metavar="LABELS", help="only those with these labels: app=x,tier!=y")
    command.add_argument("-o", "--output", choices=["wide", "json", "yaml"], help="default: a table")


def _cooldown(commands: Commands) -> None:
    cooldown = commands.add_parser("cooldown", help="hold a model, let it be used again, or see what keeps it")
    actions = cooldown.add_subparsers(dest="action", required=True, metavar="ACTION")
    hold = _command(actions, "set", "hold a model: nobody uses it until the time comes or it is cleared")
    _lane(hold)
    hold.add_argument("model", metavar="MODEL", help="name of a model of the lane")
    end = hold.add_mutually_exclusive_group()
    end.add_argument("--for", dest="span", metavar="SPAN", help="how long: 90s, 30m, 4h, 2d")
    end.add_argument("--until", metavar="TIME", help="until when: 2026-11-21T09:30:00Z")
    clear = _command(actions, "clear", "forget the failures and holds of a model: it is used at once")
    _lane(clear)
    clear.add_argument("model", metavar="MODEL", nargs="?", help="default: each that is cooling or held")
    shown = _command(actions, "list", "list the models of a lane with their cooldowns")
    _lane(shown)
    shown.add_argument("model", metavar="MODEL", nargs="?", help="default: all of the lane")


def _lane(command: argparse.ArgumentParser) -> None:
    command.add_argument("lane", metavar="LANE", help="name of a ModelLane")
