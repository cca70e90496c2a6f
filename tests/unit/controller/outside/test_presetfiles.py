"""Presets: data files that are read strictly, and named when they are wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from laneway.controller.facts.presets import FILE_VARIABLES
from laneway.controller.outside.presetfiles import SHIPPED, PresetError, load_presets


def test_a_later_folder_wins_and_adds(tmp_path: Path) -> None:
    (tmp_path / "generic.yaml").write_text("description: Ours.\nenv: {A: b}\n")
    (tmp_path / "reviewer.yaml").write_text("description: Reviewer.\nimage: reviewer:1\nargs: [--quiet]\n")
    presets = load_presets([SHIPPED, tmp_path])
    assert presets["generic"].description == "Ours."
    assert presets["generic"].env == {"A": "b"}
    assert presets["reviewer"].args == ("--quiet",)
    assert "laneway" in presets


def test_a_preset_extends_one_of_the_same_name_with_an_image_for_everybody(tmp_path: Path) -> None:
    (tmp_path / "codex.yaml").write_text("extends: codex\nimage: ours:1\n")
    shipped, ours = load_presets([SHIPPED])["codex"], load_presets([SHIPPED, tmp_path])["codex"]
    assert (ours.image, ours.needs_image) == ("ours:1", False)
    changed = {"image": None, "extends": None}
    assert ours.model_copy(update=changed) == shipped


def test_what_a_preset_says_wins_over_what_it_extends_and_maps_are_joined(tmp_path: Path) -> None:
    base = "description: A.\nargs: [--a]\nenv: {A: a, B: b}\nfiles: {/etc/a: a}\nreadOnlyRootFilesystem: true\n"
    (tmp_path / "a.yaml").write_text(base)
    (tmp_path / "b.yaml").write_text("extends: a\nargs: []\nenv: {B: x, C: c}\nfiles: {/etc/b: b}\n")
    preset = load_presets([tmp_path])["b"]
    assert (preset.description, preset.args, preset.read_only_root_filesystem) == ("A.", (), True)
    assert preset.env == {"A": "a", "B": "x", "C": "c"}
    assert preset.files == {"/etc/a": "a", "/etc/b": "b"}


def test_other_files_are_not_presets(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("no preset")
    assert load_presets([tmp_path]) == {}


FIELDS = "extends, description, image, ownImage, command, args, env, files, resources, readOnlyRootFilesystem, logParser, wireAPI"
TAKEN = "allowed is any but /workspace, /tmp, /laneway, /dev, /proc, /sys"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        pytest.param(
            "description: x\nimagee: y\n",
            f"imagee is no field of a preset; its fields are {FIELDS}",
            id="a misspelt field is named with those there are",
        ),
        pytest.param("image: y\n", "description: Field required", id="a missing field is named"),
        pytest.param("description: ''\n", "description: String should have at least 1", id="an empty sentence is none"),
        pytest.param("description: x\nimage: ''\n", "image: String should have at least 1", id="nor is an empty image"),
        pytest.param(
            "description: x\nlogParser: Guess\n",
            "logParser: Input should be 'None' or 'StreamJSON'",
            id="a wrong word is told what is allowed",
        ),
        pytest.param(
            "description: x\nwireAPI: Smoke\n",
            "wireAPI: Input should be 'ChatCompletions', 'Responses', 'Messages', 'OllamaChat', 'GenerateContent' or 'Embeddings'",
            id="so is a protocol that nobody speaks",
        ),
        pytest.param(
            "description: x\nargs: {a: b}\n", "args: Input should be a valid tuple", id="a wrong shape is named"
        ),
        pytest.param(
            "description: x\nenv: {A: 1}\n", "env.A: Input should be a valid string", id="a number is no text"
        ),
        pytest.param(
            "description: x\nenv: {LANEWAY_RUN: x}\n",
            "env: LANEWAY_RUN is Laneway's own; allowed is any name that does not begin with LANEWAY_",
            id="a variable of ours is not a preset's to set",
        ),
        pytest.param(
            "description: x\nresources: {request: {cpu: 1}}\n",
            "resources.request is no field of resources; its fields are requests, limits",
            id="a misspelt field deeper down is named with those there",
        ),
        pytest.param(
            "description: x\nfiles: {config.toml: a}\n",
            "files: config.toml is no absolute path of a file, such as /etc/agent/config.toml",
            id="a file needs an absolute path",
        ),
        pytest.param(
            "description: x\nfiles: {/etc/../root/a: a}\n", "/etc/../root/a is no absolute path", id="without ways up"
        ),
        pytest.param("description: x\nfiles: {/etc/agent/: a}\n", "/etc/agent/ is no absolute path", id="of no folder"),
        pytest.param(
            "description: x\nfiles: {/workspace/a: a}\n", TAKEN, id="nor in the workspace, which is the run's"
        ),
        pytest.param("description: x\nfiles: {/laneway/a: a}\n", TAKEN, id="nor beside the prompt"),
        pytest.param(
            "description: x\nfiles: {/etc/a: $(LANEWAY_TOKEN)}\n",
            f"files: /etc/a refers to $(LANEWAY_TOKEN); allowed are {', '.join(FILE_VARIABLES)}",
            id="a file never holds the token",
        ),
        pytest.param(
            f"description: x\nfiles: {{/etc/a: {'a' * 32_769}}}\n",
            "files: the files have more than 32768 bytes together",
            id="files are small",
        ),
        pytest.param(
            "description: x\nfiles: {/etc/a: {b: c}}\n",
            "files./etc/a: Input should be a valid string",
            id="a file is text",
        ),
        pytest.param(
            "imagee: y\n", "description: Field required; imagee is no field", id="every mistake is told at once"
        ),
        pytest.param(
            "extends: codx\n",
            "extends: there is no preset codx before it; there are none",
            id="what is extended has to be there",
        ),
        pytest.param("description: [x\n", "expected", id="broken YAML is said"),
        pytest.param("", f"a preset is a map of fields: {FIELDS}", id="an empty file is told what a preset is"),
    ],
)
def test_a_bad_preset_names_its_file_and_what_is_allowed(tmp_path: Path, text: str, why: str) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    with pytest.raises(PresetError, match=r"^preset bad\.yaml: ") as caught:
        load_presets([tmp_path])
    assert why in str(caught.value)


def test_a_preset_that_is_not_text_names_its_file(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_bytes(b"description: \xff\xfe\n")
    with pytest.raises(PresetError, match=r"bad\.yaml"):
        load_presets([tmp_path])
