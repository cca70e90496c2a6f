"""What the built-in agent is asked to do: a prompt file and parameters become one call. Raises SettingsError, never with the prompt or the key in it."""

from __future__ import annotations

import json
import re
from urllib.parse import urlsplit

from laneway.agent.chat import Call
from laneway.settings import AgentSettings, SettingsError

_TEMPERATURE = re.compile(r"[0-2](\.[0-9]{1,3})?")
_FORMATS = ("text", "json_object")
_NAMES = ("temperature", "maxTokens", "responseFormat", "stream")


def read_task(settings: AgentSettings) -> Call:
    """The call that the pod's files and variables ask for (S0.14, S0.22)."""
    _check_address(settings)
    parameters = _parameters(settings.parameters)
    return Call(
        model=settings.model,
        prompt=_prompt(settings),
        temperature=_temperature(parameters.get("temperature")),
        max_tokens=_max_tokens(parameters.get("maxTokens")),
        response_format=_response_format(parameters.get("responseFormat")),
        stream=_stream(parameters.get("stream")),
    )


def _check_address(settings: AgentSettings) -> None:
    try:
        parts = urlsplit(settings.base_url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise SettingsError("OPENAI_BASE_URL must be an http or https URL with a host")
    key = settings.api_key or ""
    if not key.isascii() or not key.isprintable():
        raise SettingsError("OPENAI_API_KEY must hold printable ASCII characters only")


def _prompt(settings: AgentSettings) -> str:
    try:
        prompt = settings.prompt_file.read_text(encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"the prompt file cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise SettingsError("the prompt file must be UTF-8 text") from error
    if not prompt.strip():
        raise SettingsError("the prompt file must not be empty")
    return prompt


def _parameters(text: str) -> dict[str, object]:
    try:
        parameters = json.loads(text)
    except ValueError as error:
        raise SettingsError("LANEWAY_PARAMETERS must be JSON") from error
    if not isinstance(parameters, dict):
        raise SettingsError("LANEWAY_PARAMETERS must be a JSON object")
    if unknown := sorted(set(parameters) - set(_NAMES)):
        raise SettingsError(f"parameters must be of {', '.join(_NAMES)}, not {', '.join(unknown)}")
    return parameters


def _temperature(value: object) -> float | None:
    if value is None:
        return None
    if not isinstance(value, str) or not _TEMPERATURE.fullmatch(value):
        raise SettingsError('temperature must be a decimal from "0" to "2.999"')
    return float(value)


def _max_tokens(value: object) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise SettingsError("maxTokens must be a whole number of at least 1")
    return value


def _response_format(value: object) -> str | None:
    if value is None:
        return None
    if value not in _FORMATS:
        raise SettingsError("responseFormat must be text or json_object")
    return str(value)


def _stream(value: object) -> bool:
    if value is None:
        return True
    if not isinstance(value, bool):
        raise SettingsError("stream must be true or false")
    return value
