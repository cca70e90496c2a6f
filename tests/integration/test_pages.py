"""What the pages show can be applied as it stands: the real API server takes it, and knows every field."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from integration.conftest import Kubectl

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r"^```yaml\n(.*?)^```", re.DOTALL | re.MULTILINE)


def manifests() -> Iterator[tuple[str, str]]:
    """Every text with whole objects of ours, by where it stands."""
    for page in sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]):
        text = page.read_text(encoding="utf-8")
        for found in _BLOCK.finditer(text):
            if is_ours(found[1]):
                yield f"{page.name}, line {text[: found.start()].count(chr(10)) + 1}", found[1]


def is_ours(text: str) -> bool:
    """Whether there are only whole objects in it, and one of ours among them; other pieces of YAML are fragments."""
    try:
        objects = [one for one in yaml.safe_load_all(text) if one]
    except yaml.YAMLError:
        return False
    whole = all(isinstance(one, dict) and {"apiVersion", "kind", "metadata"} <= one.keys() for one in objects)
    return whole and any(one["apiVersion"].startswith("laneway.dev/") for one in objects)


@pytest.mark.parametrize("text", [pytest.param(text, id=where) for where, text in manifests()])
def test_the_api_server_takes_what_is_shown(kubectl: Kubectl, namespace: str, text: str) -> None:
    if "generateName" in text:
        said = kubectl("create", "-n", namespace, "--dry-run=server", "--validate=strict", "-f", "-", stdin=text)
    else:
        said = kubectl("apply", "-n", namespace, "--dry-run=server", "--validate=strict", "-f", "-", stdin=text)
    assert "laneway.dev" in said
