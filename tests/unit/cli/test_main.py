"""How the command line answers before and after it has spoken to a cluster: exit codes, and words instead of tracebacks."""

from __future__ import annotations

import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import yaml

from laneway.cli.main import main

ROOT = Path(__file__).parents[3]


def kubeconfig(folder: Path, *, server: str) -> str:
    """A kubeconfig for a server that needs no credentials."""
    path = folder / "config"
    wanted = {
        "current-context": "here",
        "clusters": [{"name": "here", "cluster": {"server": server}}],
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "", "namespace": "team-a"}}],
    }
    path.write_text(yaml.safe_dump(wanted))
    return str(path)


def test_kubectl_finds_it_as_its_plugin() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert EntryPoint("kubectl-laneway", scripts["kubectl-laneway"], "console_scripts").load() is main


@pytest.mark.parametrize(
    "command",
    [
        pytest.param([], id="no command"),
        pytest.param(["why"], id="no name of a run"),
        pytest.param(["dance"], id="a command that there is not"),
        pytest.param(["why", "hello", "--name", "x"], id="a flag that there is not, though it begins like one"),
    ],
)
def test_a_wrong_command_line_is_code_2(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(command)
    assert ended.value.code == 2
    assert "usage: kubectl laneway" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        pytest.param(
            ["--kubeconfig", "{folder}/none"], "no usable Kubernetes configuration", id="there is no such file"
        ),
        pytest.param(
            ["--kubeconfig", "{config}", "--context", "there"], "Expected object with name there", id="no such context"
        ),
        pytest.param(
            ["--kubeconfig", "{config}"], "is the cluster up, and is this the right context?", id="nobody answers"
        ),
    ],
)
def test_what_cannot_be_done_is_code_1_and_a_sentence(
    flags: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = kubeconfig(tmp_path, server="http://127.0.0.1:1")
    assert main(["why", "hello", *(flag.format(folder=tmp_path, config=config) for flag in flags)]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("kubectl laneway: ")
    assert said in printed.err
    assert "Traceback" not in printed.err
