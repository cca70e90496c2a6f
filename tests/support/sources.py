"""What the source says of itself: parsed modules, and the metrics that they define."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "operator" / "laneway"
_KINDS = {"Counter": "_total", "Gauge": "", "Histogram": "", "Info": "_info"}


def parsed() -> Iterator[ast.Module]:
    """Each module of the package."""
    return (ast.parse(path.read_text(encoding="utf-8")) for path in sorted(PACKAGE.rglob("*.py")))


@cache
def metrics() -> dict[str, list[str]]:
    """The metrics of the code by the name that Prometheus shows, with their labels."""
    found = {"laneway_build_info": ["version"]}
    for tree in parsed():
        for kind, call in _calls(tree, set(_KINDS)):
            if call.args and isinstance(name := call.args[0], ast.Constant) and str(name.value).startswith("laneway_"):
                labels = (
                    [each.value for each in ast.walk(call.args[2]) if isinstance(each, ast.Constant)]
                    if call.args[2:]
                    else []
                )
                found.setdefault(f"{name.value}{_KINDS[kind]}", [str(label) for label in labels])
    return found


def _calls(tree: ast.AST, names: set[str]) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names:
            yield node.func.id, node
