"""Presets: data files that are read strictly, and named when they are wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from laneway.api.endpoint import WireAPI
from laneway.controller.presets import SHIPPED, LogParser, PresetError, load_presets


def test_the_shipped_presets_are_there() -> None:
    presets = load_presets([SHIPPED])
    assert {"laneway", "generic"} <= set(presets)
    assert presets["laneway"].own_image
    assert presets["laneway"].log_parser is LogParser.STREAM_JSON
    assert presets["generic"].log_parser is LogParser.NONE
    assert (presets["laneway"].wire_api, presets["generic"].wire_api) == (WireAPI.CHAT_COMPLETIONS, None)


def test_a_later_folder_wins_and_adds(tmp_path: Path) -> None:
    (tmp_path / "generic.yaml").write_text("description: Ours.\nenv: {A: b}\n")
    (tmp_path / "aider.yaml").write_text("description: Aider.\nimage: aider:1\nargs: [--yes]\n")
    presets = load_presets([SHIPPED, tmp_path])
    assert presets["generic"].description == "Ours."
    assert presets["generic"].env == {"A": "b"}
    assert presets["aider"].args == ("--yes",)
    assert "laneway" in presets


def test_other_files_are_not_presets(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("no preset")
    assert load_presets([tmp_path]) == {}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        pytest.param("description: x\nimagee: y\n", "imagee", id="a misspelt field is named"),
        pytest.param("image: y\n", "description", id="a missing field is named"),
        pytest.param("description: x\nlogParser: Guess\n", "StreamJSON", id="a wrong word is told what is allowed"),
        pytest.param("description: x\nwireAPI: Smoke\n", "OllamaChat", id="so is a protocol that nobody speaks"),
        pytest.param("description: x\nargs: {a: b}\n", "args", id="a wrong shape is named"),
        pytest.param("description: [x\n", "expected", id="broken YAML is said"),
        pytest.param("", "bad", id="an empty file is said"),
    ],
)
def test_a_bad_preset_names_its_file_and_what_is_wrong(tmp_path: Path, text: str, why: str) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    with pytest.raises(PresetError, match=r"bad\.yaml") as caught:
        load_presets([tmp_path])
    assert why in str(caught.value)


def test_a_preset_that_is_not_text_names_its_file(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_bytes(b"description: \xff\xfe\n")
    with pytest.raises(PresetError, match=r"bad\.yaml"):
        load_presets([tmp_path])
