"""How the command line answers before and after it has spoken to a cluster: exit codes, and words instead of tracebacks."""

from __future__ import annotations

import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import yaml

import manifests
from laneway.api.agentrun import AgentRun
from laneway.cli.door import CommandError, in_words, parsed
from laneway.cli.main import main
from laneway.kube.errors import error_of

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


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("{", id="it is no YAML"),
        pytest.param("", id="it is empty"),
        pytest.param("clusters: []", id="it has no context"),
    ],
)
def test_a_kubeconfig_that_cannot_be_used_is_said(
    content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "config"
    broken.write_text(content)
    assert main(["lanes", "--kubeconfig", str(broken)]) == 1
    assert capsys.readouterr().err.startswith("kubectl laneway: no usable Kubernetes configuration: ")


@pytest.mark.parametrize(
    ("status", "said"),
    [
        pytest.param(401, "the cluster does not know who you are; log in again: words", id="an old token"),
        pytest.param(403, "you may not do that: words", id="no right"),
        pytest.param(404, "words; are Laneway's CustomResourceDefinitions installed?", id="the kind is not there"),
        pytest.param(
            409, "it was changed by somebody else at the same moment; try again: words", id="somebody was faster"
        ),
        pytest.param(422, "words", id="a rule of the schema speaks for itself"),
        pytest.param(500, "words", id="the server's own trouble"),
    ],
)
def test_a_refusal_is_said_with_what_it_means(status: int, said: str) -> None:
    assert in_words(error_of(status=status, body={"message": "words"})) == said


def test_an_object_of_a_newer_version_is_said_to_be_one() -> None:
    newer = {**manifests.run(name="hello"), "status": {"phase": "PhaseOfTomorrow"}}
    with pytest.raises(CommandError, match=r"hello has a field that this version does not know: status\.phase"):
        parsed(AgentRun, newer)
