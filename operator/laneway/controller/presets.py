"""Presets: how to run a known agent. They are data, one YAML file each; the chart can add more."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Annotated

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from laneway.api.base import Model, wire_name
from laneway.api.endpoint import WireAPI
from laneway.api.podoptions import Resources

SHIPPED = Path(__file__).parents[1] / "presets"
FILE_VARIABLES = (
    "LANEWAY_RUN",
    "LANEWAY_NAMESPACE",
    "LANEWAY_MODEL",
    "LANEWAY_MAX_TURNS",
    "OPENAI_BASE_URL",
    "ANTHROPIC_BASE_URL",
    "OLLAMA_HOST",
    "GOOGLE_GEMINI_BASE_URL",
)
"""What a file may refer to. The token is not among them: an agent reads it from its environment."""
REFERENCE = re.compile(r"\$\((\w+)\)")

_FILES_LIMIT = 32 * 1024
"""Bytes of all files together: they travel with the pod, as annotations."""
_TAKEN = ("/workspace", "/tmp", "/laneway", "/dev", "/proc", "/sys")  # noqa: S108 - paths in a pod
_OWN_ENV = "LANEWAY_"


class PresetError(ValueError):
    """A preset file is wrong; the message names the file, the field, and what is allowed."""


class LogParser(StrEnum):
    """How the agent's log is read on Direct lanes."""

    NONE = "None"
    STREAM_JSON = "StreamJSON"


def _check_files(files: Mapping[str, str]) -> Mapping[str, str]:
    for path, content in files.items():
        whole = PurePosixPath(path)
        if not whole.is_absolute() or ".." in whole.parts or str(whole) != path or path == "/":
            raise ValueError(f"{path} is no absolute path of a file, such as /etc/agent/config.toml")
        if any(whole.is_relative_to(taken) for taken in _TAKEN):
            raise ValueError(f"{path} is below a folder that is taken; allowed is any but {', '.join(_TAKEN)}")
        unknown = sorted(set(REFERENCE.findall(content)) - set(FILE_VARIABLES))
        if unknown:
            raise ValueError(f"{path} refers to $({unknown[0]}); allowed are {', '.join(FILE_VARIABLES)}")
    if sum(len(content.encode()) for content in files.values()) > _FILES_LIMIT:
        raise ValueError(f"the files have more than {_FILES_LIMIT} bytes together")
    return files


def _check_env(env: Mapping[str, str]) -> Mapping[str, str]:
    own = sorted(name for name in env if name.startswith(_OWN_ENV))
    if own:
        raise ValueError(f"{own[0]} is Laneway's own; allowed is any name that does not begin with {_OWN_ENV}")
    return env


class PresetResources(Resources):
    """Requests and limits; what is misspelt is refused."""

    model_config = ConfigDict(alias_generator=wire_name, extra="forbid", frozen=True)


class Preset(Model):
    """One way to run an agent. Fields of the run's ``agent`` win over it."""

    model_config = ConfigDict(alias_generator=wire_name, extra="forbid", frozen=True)

    extends: str | None = None
    """Another preset, whose fields hold where this one has none; of env and files each name counts alone."""
    description: str = Field(min_length=1)
    image: str | None = Field(default=None, min_length=1)
    """None: the operator's own image, or the run must name one."""
    own_image: bool = False
    """The operator's own image."""
    command: tuple[str, ...] | None = None
    args: tuple[str, ...] | None = None
    env: Annotated[Mapping[str, str], AfterValidator(_check_env)] = {}
    files: Annotated[Mapping[str, str], AfterValidator(_check_files)] = {}
    """Config files by their absolute paths; read-only in the pod."""
    resources: PresetResources | None = None
    read_only_root_filesystem: bool = False
    """The agent writes to its workspace and to /tmp, and nowhere else."""
    log_parser: LogParser = LogParser.NONE
    wire_api: WireAPI | None = None
    """The protocol that the agent speaks; None: not known, so no lane is ruled out by it."""

    @property
    def needs_image(self) -> bool:
        """Whether a run has to name its image."""
        return self.image is None and not self.own_image


def load_presets(folders: Iterable[Path]) -> dict[str, Preset]:
    """Every preset of the folders by name (the file's), later folders first to win. Raises PresetError.

    A preset extends one that was read before it: of an earlier folder, or of its own with an earlier name.
    """
    presets: dict[str, Preset] = {}
    for folder in folders:
        for file in sorted(folder.glob("*.yaml")):
            presets[file.stem] = _read(file, presets)
    return presets


def _read(file: Path, known: Mapping[str, Preset]) -> Preset:
    try:
        return Preset.model_validate(_extended(file, yaml.safe_load(file.read_text(encoding="utf-8")), known))
    except ValidationError as error:
        raise PresetError(f"preset {file.name}: {'; '.join(_sentences(error))}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise PresetError(f"preset {file.name}: {error}") from error


def _extended(file: Path, said: object, known: Mapping[str, Preset]) -> object:
    """What a file says, over what the preset that it extends says."""
    if not isinstance(said, dict) or said.get("extends") is None:
        return said
    base = known.get(str(said["extends"]))
    if base is None:
        there = ", ".join(sorted(known)) or "none"
        raise PresetError(
            f"preset {file.name}: extends: there is no preset {said['extends']} before it; there are {there}"
        )
    inherited = base.model_dump(mode="json", by_alias=True, exclude_unset=True)
    maps = {
        name: {**inherited.get(name, {}), **said[name]} for name in ("env", "files") if isinstance(said.get(name), dict)
    }
    return {**inherited, **said, **maps}


def _sentences(error: ValidationError) -> Iterable[str]:
    """What is wrong with each field, and what is allowed there."""
    for one in error.errors(include_url=False, include_context=False, include_input=False):
        where = ".".join(str(part) for part in one["loc"])
        if one["type"] == "extra_forbidden":
            yield f"{where} is no field {_place(one['loc'])}; its fields are {', '.join(_names(one['loc']))}"
        elif where:
            yield f"{where}: {one['msg'].removeprefix('Value error, ')}"
        else:
            yield f"a preset is a map of fields: {', '.join(_names(()))}"


def _place(loc: tuple[int | str, ...]) -> str:
    return f"of {'.'.join(str(part) for part in loc[:-1])}" if loc[:-1] else "of a preset"


def _names(loc: tuple[int | str, ...]) -> list[str]:
    """The fields that are known where an unknown one was found."""
    model: type[BaseModel] = PresetResources if loc[:-1] == ("resources",) else Preset
    return [field.alias or name for name, field in model.model_fields.items()]
