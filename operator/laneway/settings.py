"""Settings of every subcommand: the only reader of the environment.

Each setting has one sentence here; the chart sets them, and docs/operate.md lists them.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias
from urllib.parse import unquote, urlsplit

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


class SettingsError(ValueError):
    """A variable of the environment is missing or wrong; the message says which and what is allowed."""


@dataclass(frozen=True)
class LogSettings:
    """How logs are written."""

    level: str
    """debug, info, warning or error."""
    json: bool
    """One JSON object a line, instead of text."""


@dataclass(frozen=True)
class TraceSettings:
    """Where spans are sent, by OTLP over HTTP in JSON."""

    url: str
    headers: Mapping[str, str] = field(repr=False)
    """Sent along; a key may be among them."""
    service: str
    """service.name of the spans."""
    ratio: float = 1.0
    """The share of runs that is traced, from 0 to 1."""


@dataclass(frozen=True)
class OperatorSettings:
    """Settings of ``laneway operator``."""

    namespace: str
    """Namespace of the operator: its Lease and the token Secret live there."""
    identity: str
    """Name of this replica in the Lease; the pod's name."""
    watch_namespaces: tuple[str, ...]
    """Namespaces to serve; empty means all."""
    gateway_url: str
    """Where agents reach the gateway."""
    gateway_operator_url: str
    """Where the operator reads the gateway's state."""
    agent_image: str
    """Image of the built-in agent: the operator's own."""
    presets_dir: Path | None
    """Folder with more presets, one YAML file each."""
    lease_name: str
    """Name of the Lease that the leader holds."""
    token_secret: str
    """Name of the Secret with the token keys."""
    health_port: int
    """Port of /healthz and /readyz."""
    metrics_port: int
    """Port of /metrics."""
    log: LogSettings
    traces: TraceSettings | None = None
    """None: no traces."""


@dataclass(frozen=True)
class GatewaySettings:
    """Settings of ``laneway gateway``."""

    namespace: str
    """Namespace of the gateway: the token Secret lives there."""
    watch_namespaces: tuple[str, ...]
    """Namespaces to serve; empty means all."""
    token_secret: str
    """Name of the Secret with the token keys."""
    ledger_path: Path
    """File of the SQLite ledger, on the gateway's own volume."""
    call_port: int
    """Port for agents."""
    operator_port: int
    """Port for the operator."""
    metrics_port: int
    """Port of /metrics, /healthz and /readyz."""
    bind_pod_address: bool
    """Accept a token only from an address of its pod; off where a mesh hides addresses."""
    pod_addresses: tuple[str, ...]
    """The gateway pod's own addresses, which no lane may name."""
    refused_hosts: tuple[str, ...]
    """Hosts that no lane may reach under any name: the gateway's Service, the API server."""
    upstream_allow: tuple[Network, ...]
    """Networks that lanes may reach; empty means all that are not refused."""
    upstream_deny: tuple[Network, ...]
    """Networks that no lane may reach."""
    log: LogSettings
    traces: TraceSettings | None = None
    """None: no traces."""


@dataclass(frozen=True)
class AgentSettings:
    """What ``laneway agent`` finds in its pod; the contract of docs/agents.md."""

    prompt_file: Path
    base_url: str
    api_key: str | None
    model: str
    parameters: str
    """JSON of spec.agent.parameters; ``{}`` when unset."""
    termination_log: Path
    behind_gateway: bool = False
    """Retries are the gateway's; without one the agent makes its own (S1.13)."""


def operator_settings(env: Mapping[str, str] = os.environ) -> OperatorSettings:
    """Read the operator's settings. Raises SettingsError."""
    return OperatorSettings(
        namespace=_need(env, "LANEWAY_POD_NAMESPACE"),
        identity=_need(env, "LANEWAY_POD_NAME"),
        watch_namespaces=_names(env, "LANEWAY_WATCH_NAMESPACES"),
        gateway_url=_need(env, "LANEWAY_GATEWAY_URL").rstrip("/"),
        gateway_operator_url=_need(env, "LANEWAY_GATEWAY_OPERATOR_URL").rstrip("/"),
        agent_image=_need(env, "LANEWAY_AGENT_IMAGE"),
        presets_dir=Path(env["LANEWAY_PRESETS_DIR"]) if env.get("LANEWAY_PRESETS_DIR") else None,
        lease_name=env.get("LANEWAY_LEASE_NAME", "laneway-operator"),
        token_secret=env.get("LANEWAY_TOKEN_SECRET", "laneway-token-keys"),
        health_port=_port(env, "LANEWAY_HEALTH_PORT", 8082),
        metrics_port=_port(env, "LANEWAY_METRICS_PORT", 9090),
        log=_log(env),
        traces=_traces(env, "laneway-operator"),
    )


def gateway_settings(env: Mapping[str, str] = os.environ) -> GatewaySettings:
    """Read the gateway's settings. Raises SettingsError."""
    return GatewaySettings(
        namespace=_need(env, "LANEWAY_POD_NAMESPACE"),
        watch_namespaces=_names(env, "LANEWAY_WATCH_NAMESPACES"),
        token_secret=env.get("LANEWAY_TOKEN_SECRET", "laneway-token-keys"),
        ledger_path=ledger_path(env),
        call_port=_port(env, "LANEWAY_CALL_PORT", 8080),
        operator_port=_port(env, "LANEWAY_OPERATOR_PORT", 8081),
        metrics_port=_port(env, "LANEWAY_METRICS_PORT", 9090),
        bind_pod_address=_flag(env, "LANEWAY_BIND_POD_ADDRESS", default=True),
        pod_addresses=_names(env, "LANEWAY_POD_ADDRESSES"),
        refused_hosts=_names(env, "LANEWAY_REFUSED_HOSTS"),
        upstream_allow=_networks(env, "LANEWAY_UPSTREAM_ALLOW"),
        upstream_deny=_networks(env, "LANEWAY_UPSTREAM_DENY"),
        log=_log(env),
        traces=_traces(env, "laneway-gateway"),
    )


def log_settings_or_default(env: Mapping[str, str] = os.environ) -> LogSettings:
    """How logs are written, also for a process that cannot start: what is wrong in them does not count."""
    try:
        return _log(env)
    except SettingsError:
        return LogSettings(level="info", json=True)


def ledger_path(env: Mapping[str, str] = os.environ) -> Path:
    """Read where ``laneway ledger`` finds the ledger. Raises SettingsError."""
    return Path(_need(env, "LANEWAY_LEDGER_PATH"))


def agent_settings(env: Mapping[str, str] = os.environ) -> AgentSettings:
    """Read what an agent's pod gives. Raises SettingsError."""
    return AgentSettings(
        prompt_file=Path(_need(env, "LANEWAY_PROMPT_FILE")),
        base_url=_need(env, "OPENAI_BASE_URL").rstrip("/"),
        api_key=env.get("OPENAI_API_KEY") or None,
        model=_need(env, "LANEWAY_MODEL"),
        parameters=env.get("LANEWAY_PARAMETERS", "{}"),
        termination_log=Path(env.get("LANEWAY_TERMINATION_LOG", "/dev/termination-log")),
        behind_gateway=bool(env.get("LANEWAY_GATEWAY_URL")),
    )


def wants_colours(env: Mapping[str, str] = os.environ) -> bool:
    """Whether a terminal may be given colours: not a dumb one, nor that of somebody who set NO_COLOR."""
    return not env.get("NO_COLOR") and env.get("TERM") != "dumb"


def _need(env: Mapping[str, str], name: str) -> str:
    value = env.get(name, "")
    if not value:
        raise SettingsError(f"{name} must be set")
    return value


def _names(env: Mapping[str, str], name: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in env.get(name, "").split(",") if part.strip())


def _networks(env: Mapping[str, str], name: str) -> tuple[Network, ...]:
    try:
        return tuple(ipaddress.ip_network(part) for part in _names(env, name))
    except ValueError as error:
        raise SettingsError(f"{name} must be networks such as 10.0.0.0/8, separated by commas: {error}") from error


def _port(env: Mapping[str, str], name: str, default: int) -> int:
    text = env.get(name, str(default))
    if not text.isascii() or not text.isdigit() or not 0 <= int(text) <= 65535:  # noqa: PLR2004
        raise SettingsError(f"{name} must be a port from 0 to 65535 (0: any free one), not {text!r}")
    return int(text)


def _flag(env: Mapping[str, str], name: str, *, default: bool) -> bool:
    text = env.get(name, str(default)).lower()
    if text not in {"true", "false"}:
        raise SettingsError(f"{name} must be true or false, not {text!r}")
    return text == "true"


def _log(env: Mapping[str, str]) -> LogSettings:
    level = env.get("LANEWAY_LOG_LEVEL", "info").lower()
    if level not in {"debug", "info", "warning", "error"}:
        raise SettingsError(f"LANEWAY_LOG_LEVEL must be debug, info, warning or error, not {level!r}")
    style = env.get("LANEWAY_LOG_FORMAT", "json").lower()
    if style not in {"json", "text"}:
        raise SettingsError(f"LANEWAY_LOG_FORMAT must be json or text, not {style!r}")
    return LogSettings(level=level, json=style == "json")


def _traces(env: Mapping[str, str], service: str) -> TraceSettings | None:
    """The variables that every OpenTelemetry exporter reads, as far as they apply here."""
    root, own = env.get("OTEL_EXPORTER_OTLP_ENDPOINT", ""), env.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "")
    if not root and not own:
        return None
    name = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT" if own else "OTEL_EXPORTER_OTLP_ENDPOINT"
    parts = urlsplit(own or root)
    more = parts.username is not None or parts.query or parts.fragment
    if parts.scheme not in {"http", "https"} or not parts.hostname or more:
        # What it is now is not repeated: a key may be in it, and the address is logged.
        raise SettingsError(
            f"{name} must be an http or https URL such as http://otel-collector:4318, without user or query"
        )
    return TraceSettings(
        url=own or f"{root.rstrip('/')}/v1/traces",
        headers=_headers(env, "OTEL_EXPORTER_OTLP_HEADERS"),
        service=env.get("OTEL_SERVICE_NAME") or service,
        ratio=_ratio(env, "OTEL_TRACES_SAMPLER_ARG"),
    )


def _headers(env: Mapping[str, str], name: str) -> dict[str, str]:
    headers = {}
    for entry in _names(env, name):
        key, equals, value = (part.strip() for part in entry.partition("="))
        headers[key] = unquote(value)
        if not equals or not _HEADER_NAME.fullmatch(key) or not headers[key].isprintable():
            raise SettingsError(f"{name} must be key=value pairs separated by commas, with values percent-encoded")
    return headers


def _ratio(env: Mapping[str, str], name: str) -> float:
    text = env.get(name) or "1"
    try:
        ratio = float(text)
    except ValueError:
        ratio = -1.0
    if not 0 <= ratio <= 1:
        raise SettingsError(f"{name} must be a number from 0 to 1, not {text!r}")
    return ratio
