"""The flags and subcommands of ``kubectl laneway``, with kubectl's own names where kubectl has them."""

from __future__ import annotations

import argparse
from typing import TypeAlias

from laneway import __version__
from laneway.api.grouping import GroupBy

PROGRAM = "kubectl laneway"
GATEWAY_NAMESPACE = "laneway-system"

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
    _top(commands)
    _logs(commands)
    _usage(commands)
    _submit(commands)
    _of_run(commands, "suspend", "let a run begin no new attempt; the one at work goes on to its end")
    _of_run(commands, "resume", "let a suspended run go on")
    _of_run(commands, "cancel", "stop a run for good, and keep its record")
    _of_run(commands, "retry", "make a new run with the spec of one that has ended")
    _cooldown(commands)
    told = "print the program that lets kubectl complete this plugin's words; put it on the PATH as kubectl_complete-laneway"
    commands.add_parser("completion", help=told, description=f"{told[0].upper()}{told[1:]}.", allow_abbrev=False)
    return parser


def _command(commands: Commands, name: str, does: str) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=does, description=f"{does[0].upper()}{does[1:]}.", allow_abbrev=False)
    command.add_argument("-n", "--namespace", metavar="NAME", help="default: that of the context")
    command.add_argument("--context", metavar="NAME", help="context of the kubeconfig; default: its current one")
    command.add_argument("--kubeconfig", metavar="FILE", help="default: what KUBECONFIG names, else that of your home")
    return command


def _of_run(commands: Commands, name: str, does: str) -> argparse.ArgumentParser:
    command = _command(commands, name, does)
    command.add_argument("run", metavar="RUN", help="name of an AgentRun")
    return command


def _of_many(commands: Commands, name: str, does: str) -> argparse.ArgumentParser:
    command = _command(commands, name, does)
    command.add_argument("-A", "--all-namespaces", action="store_true", help="those of all namespaces")
    command.add_argument("-l", "--selector", metavar="LABELS", help="only those with these labels: app=x,tier!=y")
    return command


def _of_list(commands: Commands, name: str, does: str) -> None:
    command = _of_many(commands, name, does)
    command.add_argument("-o", "--output", choices=["wide", "json", "yaml"], help="default: a table")


def _top(commands: Commands) -> None:
    command = _of_many(commands, "top", "watch lanes and runs on one screen; Ctrl-C ends it")
    command.add_argument("--once", action="store_true", help="print it once, whole, also where there is no terminal")
    command.add_argument(
        "--every", type=_seconds, default=2.0, metavar="SECONDS", help="how often it is drawn; default: 2"
    )


def _logs(commands: Commands) -> None:
    command = _of_run(commands, "logs", "print what the agent of a run wrote, across its attempts")
    command.add_argument(
        "-f",
        "--follow",
        action="store_true",
        help="go on with what comes, into later attempts, until the run has ended",
    )
    command.add_argument(
        "--tail", type=_lines, metavar="LINES", help="only the last lines of each attempt; default: all"
    )
    command.add_argument("--timestamps", action="store_true", help="begin each line with when it was written")
    which = command.add_mutually_exclusive_group()
    which.add_argument(
        "--attempt", type=_lines, metavar="N", help="only that attempt; default: all that the status keeps"
    )
    which.add_argument("-p", "--previous", action="store_true", help="only the attempt before the latest")


def _usage(commands: Commands) -> None:
    command = _of_many(commands, "usage", "sum up tokens and cost")
    command.add_argument("run", metavar="RUN", nargs="?", help="name of an AgentRun, or the uid of a deleted one")
    command.add_argument(
        "--by", choices=[by.value for by in GroupBy], default=GroupBy.RUN.value, help="what to sum by; default: run"
    )
    command.add_argument(
        "--since",
        metavar="TIME",
        help="only calls that began since, from the ledger: 24h, 7d, 2026-11-21, 2026-11-21T09:30:00Z",
    )
    command.add_argument("--ledger", action="store_true", help="ask the ledger, which knows deleted runs too")
    command.add_argument(
        "--gateway-namespace",
        metavar="NAME",
        default=GATEWAY_NAMESPACE,
        help=f"where the gateway runs, for the ledger; default: {GATEWAY_NAMESPACE}",
    )
    command.add_argument("-o", "--output", choices=["table", "wide", "json", "csv"], help="default: a table")


def _submit(commands: Commands) -> None:
    command = _command(commands, "submit", "make a run from flags")
    prompt = command.add_mutually_exclusive_group(required=True)
    prompt.add_argument("--prompt", metavar="TEXT", help="the work")
    prompt.add_argument("-f", "--file", metavar="FILE", help="a file that has it; -: standard input")
    command.add_argument(
        "--lane", dest="lanes", action="append", required=True, metavar="LANE",
        help="LANE or NAMESPACE/LANE; more than one: the steps of its chain",
    )  # fmt: skip
    command.add_argument(
        "--model",
        dest="models",
        action="append",
        default=[],
        metavar="MODEL",
        help="model of that step; default: the lane's",
    )
    name = command.add_mutually_exclusive_group()
    name.add_argument("--name", metavar="NAME", help="default: a name is made")
    name.add_argument("--generate-name", metavar="PREFIX", help="a name is made that begins so; default: run-")
    command.add_argument("--title", metavar="TEXT", help="for people")
    command.add_argument("--caller", metavar="NAME", help="whose runs share a place in the queue")
    command.add_argument("--priority", type=int, metavar="N", help="before the caller's other runs")
    command.add_argument("--preset", metavar="NAME", help="default: laneway, or generic with an image")
    command.add_argument("--image", metavar="IMAGE", help="the agent's image")
    command.add_argument(
        "--env", action="append", default=[], metavar="NAME=VALUE", help="one more variable for the agent"
    )
    command.add_argument("--label", action="append", default=[], metavar="KEY=VALUE", help="a label of the run")
    command.add_argument("--limit-cost", metavar="USD", help="what it may cost: 2.50")
    command.add_argument("--limit-tokens", type=_lines, metavar="N", help="how many tokens it may use")
    command.add_argument("--limit-turns", type=_lines, metavar="N", help="how many answered calls it may make")
    command.add_argument(
        "--ttl", metavar="SPAN", help="when it is deleted, after its end: 90s, 30m, 4h, 2d; default: never"
    )
    command.add_argument(
        "--dry-run",
        nargs="?",
        const="client",
        choices=["client", "server"],
        help="make nothing; server: let the API server judge it",
    )
    then = command.add_mutually_exclusive_group()
    then.add_argument(
        "--wait", action="store_true", help="until it has ended, and say how; code 3 if that was not well"
    )
    then.add_argument("--follow", action="store_true", help="the same, with its log")
    command.add_argument(
        "--timeout", type=_seconds, metavar="SECONDS", help="of --wait and --follow; default: none; code 4"
    )
    command.add_argument("-o", "--output", choices=["json", "yaml", "name"], help="default: a sentence")


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


def _lines(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number above 0")
    return int(text)


def _seconds(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds above 0")
    return number
