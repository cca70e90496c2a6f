"""Presets: how to run a known agent, and what may stand in one. Pure; ``presetfiles`` reads them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Annotated

from pydantic import AfterValidator, ConfigDict, Field

from laneway.api.base import Model, wire_name
from laneway.api.endpoint import WireAPI
from laneway.api.podoptions import Resources

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
