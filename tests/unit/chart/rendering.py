"""The chart as helm renders it: objects, or the sentence with which helm refuses."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml

TREE = Path(__file__).resolve().parents[3]
CHART = TREE / "helm" / "laneway"
NAMESPACE = "laneway-system"
KUBERNETES = "1.32.0"
"""What the chart is rendered for, whatever helm itself was built for: the oldest version that it serves."""
COMPONENTS = ("operator", "gateway")
VALUES_FILES = sorted((CHART / "ci").glob("*-values.yaml"))
"""What the chart is rendered with beside its defaults, each a way to install it."""

Object = dict[str, Any]


class UniqueKeyLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Refuses a key that stands twice in one mapping; PyYAML alone would keep the last without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = {key for key in keys if keys.count(key) > 1}
        if twice:
            raise yaml.constructor.ConstructorError(None, None, f"{twice} twice in a mapping", node.start_mark)
        return dict(super().construct_mapping(node, deep))


class Rendered:
    """All objects of one render."""

    def __init__(self, text: str) -> None:
        self.objects: list[Object] = [
            found for found in yaml.load_all(text, Loader=UniqueKeyLoader) if found is not None
        ]

    def kind(self, kind: str) -> list[Object]:
        return [found for found in self.objects if found["kind"] == kind]

    def get(self, kind: str, name: str) -> Object:
        found = [one for one in self.kind(kind) if one["metadata"]["name"] == name]
        assert len(found) == 1, f"{len(found)} objects {kind}/{name} among {[self.label(one) for one in self.objects]}"
        return found[0]

    def pod(self, component: str, *, fullname: str = "laneway") -> Object:
        template: Object = self.get("Deployment", f"{fullname}-{component}")["spec"]["template"]
        return template

    def container(self, component: str) -> Object:
        (only,) = self.pod(component)["spec"]["containers"]
        return dict(only)

    def env(self, component: str) -> dict[str, str]:
        """The environment as the container sees it; what the kubelet fills in is shown by its path, and what a Secret has is left out."""
        return {
            one["name"]: one["value"] if "value" in one else one["valueFrom"]["fieldRef"]["fieldPath"]
            for one in self.container(component)["env"]
            if "secretKeyRef" not in one.get("valueFrom", {})
        }

    @staticmethod
    def label(found: Object) -> str:
        metadata = found["metadata"]
        return f"{found['kind']} {metadata.get('namespace', '')}/{metadata['name']}"


@functools.cache
def helm() -> str:
    """Where helm is. A machine without it fails the tests: nothing else can render the chart."""
    base = (
        os.environ.get("LANEWAY_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "laneway"
    )
    found = shutil.which("helm") or shutil.which("helm", path=str(Path(base) / "bin"))
    if found is None:
        pytest.fail("helm is neither on PATH nor among the cluster tools; 'make test' builds them first", pytrace=False)
    return found


def run(*words: str, values: Object | None = None) -> subprocess.CompletedProcess[str]:
    """Run helm with values in a file and a home of its own, so that no user's settings are used."""
    with tempfile.TemporaryDirectory() as home:
        file = Path(home) / "values.yaml"
        file.write_text(json.dumps(values or {}))
        env = {"PATH": os.environ.get("PATH", ""), "HOME": home}
        return subprocess.run(
            [helm(), *words, "--values", str(file)], capture_output=True, text=True, check=False, timeout=60, env=env
        )


def render(values: Object | None = None, *, release: str = "laneway", flags: tuple[str, ...] = ()) -> Rendered:
    """The chart with these values; the test fails if helm refuses them."""
    result = _template(json.dumps(values or {}, sort_keys=True), release, flags)
    assert result.returncode == 0, result.stderr
    return _parsed(result.stdout)


def refusal(values: Object | None = None, *, flags: tuple[str, ...] = ()) -> str:
    """What helm says when it refuses these values; the test fails if it does not refuse."""
    result = _template(json.dumps(values or {}, sort_keys=True), "laneway", flags)
    assert result.returncode != 0, "helm accepted the values"
    return result.stderr


@functools.cache
def _template(values: str, release: str, flags: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    where = ("--namespace", NAMESPACE, "--kube-version", KUBERNETES)
    return run("template", release, str(CHART), *where, *flags, values=json.loads(values))


@functools.cache
def _parsed(text: str) -> Rendered:
    return Rendered(text)


def nested(path: str, value: object) -> Object:
    """``nested("image.tag", "x")`` is ``{"image": {"tag": "x"}}``."""
    head, _, rest = path.partition(".")
    return {head: nested(rest, value) if rest else value}
