"""The files of presets, one YAML file each: those that are shipped, and those that the chart adds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import yaml
from pydantic import BaseModel, ValidationError

from laneway.controller.facts.presets import Preset, PresetResources

SHIPPED = Path(__file__).parents[2] / "presets"


class PresetError(ValueError):
    """A preset file is wrong; the message names the file, the field, and what is allowed."""


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
