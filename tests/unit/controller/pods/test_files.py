"""Config files of presets in the pod: filled in, read-only, and never over what the run mounts itself."""

from __future__ import annotations

from typing import Any

import pytest

from laneway.controller.pods.files import annotations_of, files_of, mounts_of, volumes_of

ENVIRONMENT = [
    {"name": "LANEWAY_MODEL", "value": "smollm2"},
    {"name": "OPENAI_BASE_URL", "value": "http://gateway/v1"},
    {"name": "LANEWAY_TOKEN", "value": "secret"},
    {"name": "OLLAMA_HOST", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
]


@pytest.mark.parametrize(
    ("content", "filled"),
    [
        pytest.param("a = 1", "a = 1", id="text as it is"),
        pytest.param("$(LANEWAY_MODEL) $(LANEWAY_MODEL)", "smollm2 smollm2", id="each variable, every time"),
        pytest.param('url = "$(OPENAI_BASE_URL)"', 'url = "http://gateway/v1"', id="as the container has it"),
        pytest.param("[$(OLLAMA_HOST)]", "[]", id="one whose value only the kubelet knows is empty"),
        pytest.param("$HOME {env:X} $(a b)", "$HOME {env:X} $(a b)", id="other signs are the agent's own"),
    ],
)
def test_a_file_is_filled_in(content: str, filled: str) -> None:
    assert files_of({"/etc/a": content}, ENVIRONMENT, []) == {"/etc/a": filled}


@pytest.mark.parametrize(
    ("mounted", "left"),
    [
        pytest.param([], ["/etc/a/x", "/etc/b"], id="without mounts all are there"),
        pytest.param(["/etc/a/x"], ["/etc/b"], id="a mount at its place wins"),
        pytest.param(["/etc/a"], ["/etc/b"], id="a mount above it wins"),
        pytest.param(["/etc/a/y", "/etc/bb"], ["/etc/a/x", "/etc/b"], id="a mount beside it does not"),
    ],
)
def test_what_the_run_mounts_itself_wins(mounted: list[str], left: list[str]) -> None:
    mounts = [{"name": "mine", "mountPath": path} for path in mounted]
    assert list(files_of({"/etc/b": "b", "/etc/a/x": "x"}, [], mounts)) == left


def test_each_file_is_mounted_alone_and_read_only_from_its_annotation() -> None:
    files = {"/etc/a/x": "one", "/etc/b": "two"}
    [volume] = volumes_of(files)
    mounts = mounts_of(files)
    assert annotations_of(files) == {"laneway.dev/file-0": "one", "laneway.dev/file-1": "two"}
    paths: dict[str, Any] = {item["path"]: item["fieldRef"]["fieldPath"] for item in volume["downwardAPI"]["items"]}
    assert [(m["name"], m["mountPath"], m["readOnly"]) for m in mounts] == [
        (volume["name"], "/etc/a/x", True),
        (volume["name"], "/etc/b", True),
    ]
    assert [paths[m["subPath"]] for m in mounts] == [
        "metadata.annotations['laneway.dev/file-0']",
        "metadata.annotations['laneway.dev/file-1']",
    ]
    assert volume["downwardAPI"]["defaultMode"] == 0o444


def test_without_files_nothing_is_added() -> None:
    assert (annotations_of({}), volumes_of({}), mounts_of({})) == ({}, [], [])
