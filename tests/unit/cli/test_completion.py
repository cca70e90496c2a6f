"""What the last word of a command line may become, before any cluster is asked."""

from __future__ import annotations

from typing import Any

import pytest

from laneway.cli.completion import SCRIPT, question
from laneway.cli.main import main


@pytest.mark.parametrize(
    ("words", "kind", "prefix", "stem", "given"),
    [
        pytest.param(["why", "he"], "run", "he", "", {}, id="the name of a run"),
        pytest.param(
            ["why", "-n", "team-a", ""], "run", "", "", {"namespace": "team-a"}, id="in the namespace of a flag"
        ),
        pytest.param(
            ["why", "--namespace=team-a", ""], "run", "", "", {"namespace": "team-a"}, id="in one behind an equals"
        ),
        pytest.param(["why", "-n", "te"], "namespace", "te", "", {}, id="a namespace"),
        pytest.param(
            ["list", "--namespace=te"], "namespace", "te", "--namespace=", {}, id="a namespace behind an equals"
        ),
        pytest.param(["logs", "-f", ""], "run", "", "", {}, id="a flag without a value takes no word"),
        pytest.param(
            ["cooldown", "set", "local", ""], "model", "", "", {"lane": "local"}, id="a model of the lane before it"
        ),
        pytest.param(
            ["submit", "--lane", "models/b"], "lane", "b", "models/", {"namespace": "models"}, id="a lane of elsewhere"
        ),
        pytest.param(["usage", ""], "run", "", "", {}, id="an argument that may be left out"),
        pytest.param(["list", "--kubeconfig", ""], "kubeconfig", "", "", {}, id="a file"),
        pytest.param(["why", "hello", ""], "", "", "", {}, id="nothing more is taken"),
        pytest.param(["dance", ""], "", "", "", {}, id="a command that there is not"),
    ],
)
def test_a_word_is_asked_for_by_its_place(
    words: list[str], kind: str, prefix: str, stem: str, given: dict[str, Any]
) -> None:
    asked = question(words)
    assert (asked.kind, asked.prefix, asked.stem, asked.words) == (kind, prefix, stem, ())
    assert given.items() <= asked.given.items()


def test_commands_flags_and_choices_need_no_cluster(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["cool"], ["cooldown", ""], ["usage", "--by", "c"], ["usage", "--by=d"], ["why", "--ku"]):
        assert main(["__complete", *words]) == 0
    lines = [line.split("\t")[0] for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        "cooldown", ":4", "set", "clear", "list", ":4", "caller", ":4", "--by=day", ":4", "--kubeconfig", ":4",
    ]  # fmt: skip


def test_a_cluster_that_cannot_be_asked_gives_no_names_and_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["__complete", "why", "--kubeconfig", "/nowhere", ""]) == 0
    assert capsys.readouterr() == (":4\n", "")


def test_the_script_asks_the_plugin(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion"]) == 0
    assert capsys.readouterr().out == SCRIPT
    assert 'exec kubectl laneway __complete "$@"' in SCRIPT
