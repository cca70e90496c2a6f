"""Presets: how to run a known agent. They are data, one YAML file each; the chart can add more."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path

import yaml
from pydantic import ConfigDict, Field, ValidationError

from laneway.api.base import Model, wire_name
from laneway.api.endpoint import WireAPI
from laneway.api.podoptions import Resources

SHIPPED = Path(__file__).parents[1] / "presets"


class PresetError(ValueError):
    """A preset file is wrong; the message names the file and what is allowed."""


class LogParser(StrEnum):
    """How the agent's log is read on Direct lanes."""

    NONE = "None"
    STREAM_JSON = "StreamJSON"


class Preset(Model):
    """One way to run an agent. Fields of the run's ``agent`` win over it."""

    model_config = ConfigDict(alias_generator=wire_name, extra="forbid", frozen=True)

    description: str = Field(min_length=1)
    image: str | None = None
    """None: the operator's own image, or the run must name one."""
    own_image: bool = False
    """The operator's own image."""
    command: tuple[str, ...] | None = None
    args: tuple[str, ...] | None = None
    env: Mapping[str, str] = {}
    resources: Resources | None = None
    log_parser: LogParser = LogParser.NONE
    wire_api: WireAPI | None = None
    """The protocol that the agent speaks; None: not known, so no lane is ruled out by it."""


def load_presets(folders: Iterable[Path]) -> dict[str, Preset]:
    """Every preset of the folders by name (the file's), later folders first to win. Raises PresetError."""
    return {file.stem: _read(file) for folder in folders for file in sorted(folder.glob("*.yaml"))}


def _read(file: Path) -> Preset:
    try:
        return Preset.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))
    except (ValidationError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise PresetError(f"preset {file.name}: {error}") from error
