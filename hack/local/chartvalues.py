"""What values.yaml says of each value: the source of the chart's table of values and of its schema's descriptions."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

MARK = "# -- "
BEGIN, END = "<!-- values -->", "<!-- /values -->"
WIDTH = 120
_KEY = re.compile(r"^( *)([A-Za-z][A-Za-z0-9]*):")


@dataclass(frozen=True)
class Value:
    """One value with its default and the sentence above it."""

    path: tuple[str, ...]
    default: Any
    sentence: str


def read(text: str) -> list[Value]:
    """The values that have a sentence, in their order. Raises ValueError for a sentence above no key."""
    tree = yaml.safe_load(text)
    return [Value(path, _at(tree, path), sentence) for path, sentence in _sentences(text.splitlines())]


def table(values: list[Value]) -> str:
    """The rows as Markdown."""
    rows = ["| value | default | meaning |", "|---|---|---|"]
    for value in values:
        shown = json.dumps(value.default, ensure_ascii=False)
        rows.append(f"| `{'.'.join(value.path)}` | `{shown}` | {value.sentence.replace('|', chr(92) + '|')} |")
    return "\n".join(rows)


def with_table(page: str, values: list[Value]) -> str:
    """The page with its table of values written anew between the two marks."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table(values)}\n{END}{after}"


def described(schema: dict[str, Any], values: list[Value]) -> str:
    """The schema with the sentence of each value as its description, as text.

    Raises KeyError for a value that it lacks, ValueError for two sentences of one definition.
    """
    said: dict[int, str] = {}
    for value in values:
        node = schema
        for key in value.path:
            node = _resolved(schema, node)["properties"][key]
        if said.setdefault(id(node), value.sentence) != value.sentence:
            raise ValueError(f"two sentences for what {'.'.join(value.path)} is defined by: {value.sentence}")
        rest = {key: found for key, found in node.items() if key != "description"}
        node.clear()
        node.update({"description": value.sentence, **rest})
    return _compact(schema) + "\n"


def _sentences(lines: list[str]) -> Iterator[tuple[tuple[str, ...], str]]:
    above: list[tuple[int, str]] = []
    sentence = ""
    for line in lines:
        if line.strip().startswith(MARK):
            sentence = line.strip().removeprefix(MARK)
            continue
        if (found := _KEY.match(line)) is None:
            continue
        indent = len(found[1])
        above = [one for one in above if one[0] < indent] + [(indent, found[2])]
        if sentence:
            yield tuple(key for _, key in above), sentence
        sentence = ""
    if sentence:
        raise ValueError(f"this sentence stands above no value: {sentence}")


def _at(tree: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        tree = tree[key]
    return tree


def _resolved(schema: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    reference = node.get("$ref", "")
    found: dict[str, Any] = schema["definitions"][reference.rpartition("/")[2]] if reference else node
    return found


def _compact(node: Any, indent: str = "", before: int = 0) -> str:
    """JSON with each object and list on one line where that is short enough."""
    line = json.dumps(node, ensure_ascii=False)
    if len(indent) + before + len(line) < WIDTH or not isinstance(node, dict | list) or not node:
        return line
    deeper = f"{indent}  "
    if isinstance(node, list):
        inner = [f"{deeper}{_compact(one, deeper)}" for one in node]
        return "[\n" + ",\n".join(inner) + f"\n{indent}]"
    inner = [f"{deeper}{json.dumps(key)}: {_compact(one, deeper, len(key) + 4)}" for key, one in node.items()]
    return "{\n" + ",\n".join(inner) + f"\n{indent}}}"
