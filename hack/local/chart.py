"""What is made from the chart: its table of values, the descriptions of its schema, and one manifest for kubectl."""

import json
import re
import subprocess
import tempfile
from pathlib import Path

from local import build, chartvalues
from local.console import StepError
from local.instance import program
from local.paths import TREE
from local.release import NAME, NAMESPACE

CHART = Path("helm") / "laneway"
INSTALL = Path("deploy") / "install.yaml"
KUBERNETES = "1.32.0"
"""The oldest version that the chart serves: what is rendered for it suits all."""
_HEAD = f"""\
# Laneway with the default values of its chart, in the namespace {NAMESPACE}. Made by `make chart`: change the chart instead.
apiVersion: v1
kind: Namespace
metadata:
  name: {NAMESPACE}
  labels:
    app.kubernetes.io/name: {NAME}
    pod-security.kubernetes.io/enforce: restricted
"""
_HELMS_OWN = re.compile(r"^ *(app\.kubernetes\.io/managed-by|helm\.sh/chart): .*\n", re.MULTILINE)
"""Labels by which kubectl's objects would say that they are Helm's."""


def write(folder: Path) -> list[Path]:
    """Writes everything that is made from the chart below a folder, at the places that it has in the tree."""
    values = chartvalues.read((TREE / CHART / "values.yaml").read_text())
    schema = json.loads((TREE / CHART / "values.schema.json").read_text())
    made = {
        CHART / "README.md": chartvalues.with_table((TREE / CHART / "README.md").read_text(), values),
        CHART / "values.schema.json": chartvalues.described(schema, values),
        INSTALL: _HEAD + _rendered(),
    }
    for path, text in made.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return list(made)


def _rendered() -> str:
    """The chart as Helm renders it with no values. Nothing of it is to stay when a person deletes what the file has."""
    build.need(build.HELM)
    options = ["--namespace", NAMESPACE, "--kube-version", KUBERNETES, "--skip-tests", "--set", "crds.keep=false"]
    with tempfile.TemporaryDirectory() as home:  # no user's settings
        done = subprocess.run(
            [program("helm"), "template", NAME, str(TREE / CHART), *options],
            env={"HOME": home},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode != 0:
        raise StepError("rendering the chart", done.stderr.strip(), "helm lint --strict helm/laneway says more")
    return _HELMS_OWN.sub("", done.stdout)
