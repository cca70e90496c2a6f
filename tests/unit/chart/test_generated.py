"""What is made from the chart stands in the tree as the chart makes it now, and its values files are rendered by all rules."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from unit.chart.rendering import NAMESPACE, TREE, VALUES_FILES, Rendered, UniqueKeyLoader, render

INSTALL = TREE / "deploy" / "install.yaml"
OBJECTS = [found for found in yaml.load_all(INSTALL.read_text(), Loader=UniqueKeyLoader) if found]


def test_what_is_made_from_the_chart_is_up_to_date(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(TREE / "hack" / "chart"), str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    made = [path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()]
    assert len(made) == 3
    for path in made:
        assert (tmp_path / path).read_text() == (TREE / path).read_text(), f"{path} is out of date: run make chart"


class TestInstallManifest:
    def test_it_has_what_helm_installs_and_its_namespace(self) -> None:
        expected = {Rendered.label(found) for found in render().objects} - {f"Pod {NAMESPACE}/laneway-test"}
        assert {Rendered.label(found) for found in OBJECTS} == expected | {f"Namespace /{NAMESPACE}"}

    def test_namespace_comes_first_and_enforces_restricted_pods(self) -> None:
        assert OBJECTS[0]["kind"] == "Namespace"
        assert OBJECTS[0]["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"

    def test_nothing_says_that_helm_manages_it(self) -> None:
        assert "Helm" not in INSTALL.read_text().partition("\n")[2]
        assert "helm.sh/" not in INSTALL.read_text()


@pytest.mark.parametrize("values", [pytest.param(file, id=file.stem) for file in VALUES_FILES])
class TestValuesFiles:
    def test_file_begins_with_what_it_is_for(self, values: Path) -> None:
        assert values.read_text().startswith("# ")

    def test_no_object_is_there_twice(self, values: Path) -> None:
        labels = [Rendered.label(found) for found in render(yaml.safe_load(values.read_text())).objects]
        assert len(labels) == len(set(labels))
        assert labels


def test_render_depends_on_nothing_but_the_values() -> None:
    """Argo CD renders without a cluster, again and again: no look-up, no random value, no time."""
    words = ("lookup", "randAlpha", "randNumeric", "randAscii", "uuidv4", "genCA", "genSelfSigned", "now", "htpasswd")
    for file in sorted((TREE / "helm" / "laneway" / "templates").rglob("*")):
        if file.is_file() and file.name != "NOTES.txt":
            actions = [part.partition("}}")[0] for part in file.read_text().split("{{")[1:]]
            used = {word for action in actions if not action.startswith(("/*", "- /*")) for word in action.split()}
            assert not used & set(words), file
