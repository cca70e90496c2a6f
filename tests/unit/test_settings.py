"""Settings: what each subcommand needs, its defaults, and the sentence when a variable is wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from ipaddress import ip_network
from pathlib import Path

import pytest

from laneway.__main__ import main
from laneway.settings import (
    AgentSettings,
    GatewaySettings,
    LogSettings,
    OperatorSettings,
    SettingsError,
    TraceSettings,
    agent_settings,
    gateway_settings,
    operator_settings,
    wants_colours,
)

OPERATOR = {
    "LANEWAY_POD_NAMESPACE": "laneway-system",
    "LANEWAY_POD_NAME": "operator-1",
    "LANEWAY_GATEWAY_URL": "http://gateway:8080",
    "LANEWAY_GATEWAY_OPERATOR_URL": "http://gateway:8081",
    "LANEWAY_AGENT_IMAGE": "laneway:1",
}
GATEWAY = {"LANEWAY_POD_NAMESPACE": "laneway-system", "LANEWAY_LEDGER_PATH": "/ledger/ledger.db"}
AGENT = {
    "LANEWAY_PROMPT_FILE": "/laneway/prompt",
    "OPENAI_BASE_URL": "http://gateway:8080/v1",
    "LANEWAY_MODEL": "smollm2",
}

Reader = Callable[[Mapping[str, str]], OperatorSettings | GatewaySettings | AgentSettings]


def test_the_operator_needs_five_variables_and_has_defaults_for_the_rest() -> None:
    assert operator_settings(OPERATOR) == OperatorSettings(
        namespace="laneway-system",
        identity="operator-1",
        watch_namespaces=(),
        gateway_url="http://gateway:8080",
        gateway_operator_url="http://gateway:8081",
        agent_image="laneway:1",
        presets_dir=None,
        lease_name="laneway-operator",
        token_secret="laneway-token-keys",
        health_port=8082,
        metrics_port=9090,
        log=LogSettings(level="info", json=True),
    )


def test_the_gateway_needs_two_variables_and_has_defaults_for_the_rest() -> None:
    assert gateway_settings(GATEWAY) == GatewaySettings(
        namespace="laneway-system",
        watch_namespaces=(),
        token_secret="laneway-token-keys",
        ledger_path=Path("/ledger/ledger.db"),
        call_port=8080,
        operator_port=8081,
        metrics_port=9090,
        bind_pod_address=True,
        pod_addresses=(),
        refused_hosts=(),
        upstream_allow=(),
        upstream_deny=(),
        log=LogSettings(level="info", json=True),
    )


COLLECTOR = "http://otel-collector:4318"


@pytest.mark.parametrize(
    ("given", "url", "service", "ratio"),
    [
        pytest.param({"OTEL_EXPORTER_OTLP_ENDPOINT": COLLECTOR}, f"{COLLECTOR}/v1/traces", None, 1.0, id="a root"),
        pytest.param(
            {"OTEL_EXPORTER_OTLP_ENDPOINT": f"{COLLECTOR}/otlp/"},
            f"{COLLECTOR}/otlp/v1/traces",
            None,
            1.0,
            id="a root with a path",
        ),
        pytest.param(
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://other", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{COLLECTOR}/t"},
            f"{COLLECTOR}/t",
            None,
            1.0,
            id="an address for traces alone is used as it is",
        ),
        pytest.param(
            {
                "OTEL_EXPORTER_OTLP_ENDPOINT": COLLECTOR,
                "OTEL_SERVICE_NAME": "agents",
                "OTEL_TRACES_SAMPLER_ARG": "0.25",
            },
            f"{COLLECTOR}/v1/traces",
            "agents",
            0.25,
            id="a name and a share",
        ),
    ],
)
def test_traces_are_set_by_the_variables_of_opentelemetry(
    given: dict[str, str], url: str, service: str | None, ratio: float
) -> None:
    operator, gateway = operator_settings({**OPERATOR, **given}).traces, gateway_settings({**GATEWAY, **given}).traces
    assert operator == TraceSettings(url=url, headers={}, service=service or "laneway-operator", ratio=ratio)
    assert gateway == TraceSettings(url=url, headers={}, service=service or "laneway-gateway", ratio=ratio)


def test_headers_of_traces_are_decoded_and_not_shown() -> None:
    headers = {"OTEL_EXPORTER_OTLP_HEADERS": "Authorization=Bearer%20k%2C1, x-team = a"}
    traces = gateway_settings({**GATEWAY, "OTEL_EXPORTER_OTLP_ENDPOINT": COLLECTOR, **headers}).traces
    assert traces is not None
    assert traces.headers == {"Authorization": "Bearer k,1", "x-team": "a"}
    assert "Bearer" not in repr(traces)


@pytest.mark.parametrize(
    "given",
    [
        pytest.param({"OTEL_EXPORTER_OTLP_ENDPOINT": "otel-collector:4317"}, id="an endpoint that is no URL"),
        pytest.param({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "grpc://c:4317"}, id="an endpoint of gRPC"),
        pytest.param({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://u:secret@c:4318"}, id="an endpoint with a user"),
        pytest.param({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318?key=secret"}, id="an endpoint with a key"),
        pytest.param({"OTEL_EXPORTER_OTLP_HEADERS": "Bearer"}, id="a header without a value"),
        pytest.param({"OTEL_EXPORTER_OTLP_HEADERS": "a=x%0Ay"}, id="a header of two lines"),
        pytest.param({"OTEL_TRACES_SAMPLER_ARG": "2"}, id="a share over 1"),
        pytest.param({"OTEL_TRACES_SAMPLER_ARG": "nan"}, id="a share that is no number"),
        pytest.param({"OTEL_TRACES_SAMPLER_ARG": "half"}, id="a share in words"),
    ],
)
def test_a_wrong_setting_of_traces_is_named(given: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match=f"^{next(iter(given))} must be ") as refused:
        gateway_settings({**GATEWAY, "OTEL_EXPORTER_OTLP_ENDPOINT": COLLECTOR, **given})
    assert "secret" not in str(refused.value)


def test_the_agent_needs_three_variables_and_no_key() -> None:
    assert agent_settings(AGENT) == AgentSettings(
        prompt_file=Path("/laneway/prompt"),
        base_url="http://gateway:8080/v1",
        api_key=None,
        model="smollm2",
        parameters="{}",
        termination_log=Path("/dev/termination-log"),
    )


REQUIRED = [
    pytest.param(reader, env, name, id=f"{reader.__name__} without {name}")
    for reader, env in ((operator_settings, OPERATOR), (gateway_settings, GATEWAY), (agent_settings, AGENT))
    for name in env
]


@pytest.mark.parametrize("value", [pytest.param(None, id="unset"), pytest.param("", id="empty")])
@pytest.mark.parametrize(("reader", "env", "name"), REQUIRED)
def test_a_missing_variable_is_named(reader: Reader, env: dict[str, str], name: str, value: str | None) -> None:
    found = {key: text for key, text in {**env, name: value}.items() if text is not None}
    with pytest.raises(SettingsError, match=f"^{name} must be set$"):
        reader(found)


READ = [
    pytest.param(
        {"LANEWAY_WATCH_NAMESPACES": "a, b,,c "}, "watch_namespaces", ("a", "b", "c"), id="namespaces are split"
    ),
    pytest.param({"LANEWAY_WATCH_NAMESPACES": " "}, "watch_namespaces", (), id="no namespaces means all"),
    pytest.param(
        {"LANEWAY_GATEWAY_URL": "http://g:1/"}, "gateway_url", "http://g:1", id="a slash at the end is dropped"
    ),
    pytest.param({"LANEWAY_PRESETS_DIR": "/presets"}, "presets_dir", Path("/presets"), id="a folder of presets"),
    pytest.param({"LANEWAY_HEALTH_PORT": "0"}, "health_port", 0, id="port 0 is any free port"),
    pytest.param({"LANEWAY_METRICS_PORT": "65535"}, "metrics_port", 65535, id="the highest port"),
    pytest.param(
        {"LANEWAY_LOG_LEVEL": "DEBUG"}, "log", LogSettings(level="debug", json=True), id="a level in capitals"
    ),
    pytest.param({"LANEWAY_LOG_FORMAT": "text"}, "log", LogSettings(level="info", json=False), id="logs as text"),
    pytest.param({"LANEWAY_LEASE_NAME": "mine"}, "lease_name", "mine", id="a Lease of another name"),
]


@pytest.mark.parametrize(("env", "name", "expected"), READ)
def test_a_variable_of_the_operator_is_read(env: dict[str, str], name: str, expected: object) -> None:
    assert getattr(operator_settings({**OPERATOR, **env}), name) == expected


@pytest.mark.parametrize(("text", "expected"), [("true", True), ("False", False)])
def test_binding_tokens_to_pod_addresses_can_be_switched_off(text: str, expected: bool) -> None:
    assert gateway_settings({**GATEWAY, "LANEWAY_BIND_POD_ADDRESS": text}).bind_pod_address is expected


def test_networks_are_read_from_a_list() -> None:
    settings = gateway_settings(
        {**GATEWAY, "LANEWAY_UPSTREAM_ALLOW": "10.0.0.0/8, fd00::/8", "LANEWAY_UPSTREAM_DENY": "10.1.2.3"}
    )
    assert settings.upstream_allow == (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))
    assert settings.upstream_deny == (ip_network("10.1.2.3/32"),)


@pytest.mark.parametrize("text", ["10.0.0.1/8", "ten", "10.0.0.0/33"])
def test_a_wrong_network_is_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(SettingsError, match=f"LANEWAY_UPSTREAM_DENY must be networks such as .*{text}"):
        gateway_settings({**GATEWAY, "LANEWAY_UPSTREAM_DENY": f"10.1.0.0/16,{text}"})


WRONG = [
    pytest.param("LANEWAY_CALL_PORT", "http", "must be a port from 0 to 65535", id="a port that is a word"),
    pytest.param("LANEWAY_CALL_PORT", "65536", "must be a port from 0 to 65535", id="a port that is too high"),
    pytest.param("LANEWAY_CALL_PORT", "-1", "must be a port from 0 to 65535", id="a port below 0"),
    pytest.param("LANEWAY_CALL_PORT", "٣", "must be a port from 0 to 65535", id="a port in other digits"),
    pytest.param("LANEWAY_CALL_PORT", "", "must be a port from 0 to 65535", id="an empty port"),
    pytest.param("LANEWAY_BIND_POD_ADDRESS", "1", "must be true or false", id="a flag that is a number"),
    pytest.param("LANEWAY_LOG_LEVEL", "loud", "must be debug, info, warning or error", id="a level that is unknown"),
    pytest.param("LANEWAY_LOG_FORMAT", "xml", "must be json or text", id="a format that is unknown"),
]


@pytest.mark.parametrize(("name", "value", "message"), WRONG)
def test_a_wrong_variable_is_refused_with_what_is_allowed(name: str, value: str, message: str) -> None:
    with pytest.raises(SettingsError, match=f"{name} {message}.*, not '{value}'"):
        gateway_settings({**GATEWAY, name: value})


def test_a_command_without_its_settings_says_so_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in AGENT:
        monkeypatch.delenv(name, raising=False)
    assert main(["agent"]) == 2
    assert capsys.readouterr().err.startswith("laneway agent: ")


@pytest.mark.parametrize(
    ("env", "wanted"),
    [
        pytest.param({"TERM": "xterm"}, True, id="a terminal gets colours"),
        pytest.param({"TERM": "xterm", "NO_COLOR": "1"}, False, id="not that of somebody who wants none"),
        pytest.param({"TERM": "dumb"}, False, id="not one that cannot show them"),
    ],
)
def test_colours(env: dict[str, str], wanted: bool) -> None:
    assert wants_colours(env) is wanted
