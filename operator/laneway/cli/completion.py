"""Completion, by kubectl's protocol for plugins: kubectl asks the program ``kubectl_complete-laneway`` for what the last word may become.

It gives all words behind ``kubectl laneway``, and reads a candidate a line, with its description behind a tab, and a last line ``:N``, of
which bit 4 says that no file is meant. A cluster that does not answer in time gives no candidates, and never an error.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from laneway.cli.parser import build_parser

_SECONDS = 3.0
_FILES, _NO_FILES = ":0", ":4"
_OF_CLUSTER = frozenset({"run", "lane", "model", "namespace", "gateway_namespace", "context"})
"""What the names of options and arguments ask the cluster, or the kubeconfig, for."""
_OF_FILES = frozenset({"kubeconfig", "file"})
SCRIPT = """#!/bin/sh
# kubectl asks this program what the last word of a command line may become. It belongs on the PATH as kubectl_complete-laneway.
exec kubectl laneway __complete "$@"
"""
"""What ``kubectl laneway completion`` prints."""


@dataclass(frozen=True)
class Asked:
    """What the last word may become."""

    kind: str = ""
    """A name of _OF_CLUSTER or _OF_FILES; empty: ``words`` are all there is."""
    words: Sequence[str] = ()
    """Candidates, with their descriptions behind tabs."""
    prefix: str = ""
    """What the last word begins with."""
    stem: str = ""
    """Goes before each candidate: ``--flag=``."""
    given: dict[str, str] = field(default_factory=dict)
    """Values of options and arguments that were written before."""


def main() -> int:
    """The program that kubectl asks."""
    return complete(sys.argv[1:])


def complete(words: Sequence[str]) -> int:
    """Print the candidates for the last of the words."""
    asked = question(words or [""])
    found = list(asked.words)
    if asked.kind in _OF_CLUSTER:
        from laneway.cli.lookup import names_of

        with suppress(TimeoutError):
            found = asyncio.run(asyncio.wait_for(names_of(asked.kind, asked.given), _SECONDS))
    shown = [f"{asked.stem}{word}" for word in found if word.startswith(asked.prefix)]
    sys.stdout.write("".join(f"{line}\n" for line in [*shown, _FILES if asked.kind in _OF_FILES else _NO_FILES]))
    return 0


def question(words: Sequence[str]) -> Asked:
    """What is asked for by the words of a command line, the last of which may be half of one. Pure."""
    parser, given, places = build_parser(), dict[str, str](), list[str]()
    waiting: argparse.Action | None = None
    for word in words[:-1]:
        if waiting is not None:
            given[waiting.dest], waiting = word, None
        elif word.startswith("-"):
            name, equals, value = word.partition("=")
            option = parser._option_string_actions.get(name)
            if option is not None and equals:
                given[option.dest] = value
            elif option is not None and _takes_value(option):
                waiting = option
        elif (commands := _commands(parser)) is not None:
            if word not in commands.choices:
                return Asked()
            parser = commands.choices[word]
        else:
            places.append(word)
    return _last(parser, words[-1], waiting, places, given)


def _last(
    parser: argparse.ArgumentParser,
    word: str,
    waiting: argparse.Action | None,
    places: Sequence[str],
    given: dict[str, str],
) -> Asked:
    arguments = [action for action in _shown(parser) if not action.option_strings and action.dest != "command"]
    given |= {action.dest: value for action, value in zip(arguments, places, strict=False)}
    if waiting is not None:
        return _value(waiting, word, given)
    if word.startswith("-"):
        name, equals, value = word.partition("=")
        option = parser._option_string_actions.get(name)
        if equals and option is not None:
            return _value(option, value, given, stem=f"{name}=")
        return Asked(words=_flags(parser), prefix=word)
    if (commands := _commands(parser)) is not None:
        helps = {action.dest: action.help or "" for action in commands._choices_actions}
        return Asked(words=[_described(name, helps.get(name, "")) for name in commands.choices], prefix=word)
    if len(places) < len(arguments):
        return _value(arguments[len(places)], word, given)
    return Asked()


def _value(action: argparse.Action, word: str, given: dict[str, str], *, stem: str = "") -> Asked:
    if action.choices is not None:
        return Asked(words=[str(choice) for choice in action.choices], prefix=word, stem=stem)
    kind = {"lanes": "lane", "models": "model"}.get(action.dest, action.dest)
    if kind == "lane" and "/" in word:
        home, _, word = word.partition("/")
        given, stem = {**given, "namespace": home}, f"{stem}{home}/"
    return Asked(kind=kind, prefix=word, stem=stem, given=given)


def _flags(parser: argparse.ArgumentParser) -> list[str]:
    longest = [
        (max(action.option_strings, key=len), action.help or "") for action in _shown(parser) if action.option_strings
    ]
    return [_described(flag, told) for flag, told in longest]


def _commands(parser: argparse.ArgumentParser) -> argparse._SubParsersAction[argparse.ArgumentParser] | None:
    return next((action for action in parser._actions if isinstance(action, argparse._SubParsersAction)), None)


def _shown(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    return [action for action in parser._actions if action.help != argparse.SUPPRESS]


def _takes_value(action: argparse.Action) -> bool:
    return action.nargs != 0


def _described(word: str, told: str) -> str:
    return f"{word}\t{told}" if told else word
