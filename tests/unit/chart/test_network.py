"""NetworkPolicies: what each pod may reach and who may reach it, judged as their API defines them."""

from __future__ import annotations

import pytest

from laneway.controller.outside.presetfiles import SHIPPED, load_presets
from laneway.controller.pods.pod import Plan, pod_labels
from support import builders
from unit.chart.policies import End, allowed, pod
from unit.chart.rendering import COMPONENTS, NAMESPACE, Object, Rendered, render

ON: Object = {"networkPolicy": {"enabled": True}, "watchNamespaces": ["team-a"]}
EVERYWHERE: Object = {"networkPolicy": {"enabled": True, "runNamespaces": ["team-a"]}}

DNS = pod("kube-system", "10.244.0.2", **{"k8s-app": "kube-dns"})
API_SERVER = End("10.0.0.1")
MODEL = pod("models", "10.244.0.9", app="vllm")
HOSTED = End("203.0.113.7")
METADATA = End("169.254.169.254")
PROMETHEUS = pod("monitoring", "10.244.0.8", app="prometheus")
STRANGER = pod("team-a", "10.244.0.7", app="web")


def _run_labels() -> dict[str, str]:
    """The labels of a run's pod, as the operator makes them."""
    plan = Plan(
        run=builders.run(),
        lane=builders.lane(),
        preset=load_presets([SHIPPED])["laneway"],
        attempt=builders.attempt(),
        surroundings=builders.SURROUNDINGS,
    )
    return pod_labels(plan)


RUN = pod("team-a", "10.244.0.10", **_run_labels())
OTHER_RUN = pod("team-b", "10.244.0.11", **_run_labels())


def _ours(rendered: Rendered) -> dict[str, End]:
    """Our own pods, with the labels that the chart gives them."""
    labels = {component: rendered.pod(component)["metadata"]["labels"] for component in COMPONENTS}
    labels["test"] = rendered.get("Pod", "laneway-test")["metadata"]["labels"]
    return {name: pod(NAMESPACE, f"10.244.1.{place}", **given) for place, (name, given) in enumerate(labels.items())}


FLOWS = [
    pytest.param("run", DNS, 53, True, id="a run resolves names"),
    pytest.param("run", "gateway", 8080, True, id="a run calls the gateway"),
    pytest.param("run", "gateway", 8081, False, id="a run does not reach the operator's port of the gateway"),
    pytest.param("run", "gateway", 9090, False, id="a run does not read metrics"),
    pytest.param("run", "operator", 9090, False, id="a run does not reach the operator"),
    pytest.param("run", API_SERVER, 6443, False, id="a run does not reach the API server"),
    pytest.param("run", MODEL, 8000, False, id="a run does not go past the gateway to a model server"),
    pytest.param("run", HOSTED, 443, False, id="a run does not reach the internet"),
    pytest.param("run", METADATA, 80, False, id="a run does not reach the cloud's metadata"),
    pytest.param("run", OTHER_RUN, 8080, False, id="a run does not reach another run"),
    pytest.param(STRANGER, "run", 8080, False, id="nobody calls a run"),
    pytest.param("operator", "gateway", 8081, True, id="the operator asks the gateway"),
    pytest.param("operator", "gateway", 8080, False, id="the operator makes no model calls"),
    pytest.param("operator", API_SERVER, 6443, True, id="the operator reaches the API server"),
    pytest.param("operator", API_SERVER, 443, True, id="the operator reaches an API server that listens on 443"),
    pytest.param("operator", DNS, 53, True, id="the operator resolves names"),
    pytest.param("operator", MODEL, 8000, False, id="the operator does not reach model servers"),
    pytest.param("gateway", API_SERVER, 6443, True, id="the gateway reaches the API server"),
    pytest.param("gateway", DNS, 53, True, id="the gateway resolves names"),
    pytest.param("gateway", MODEL, 8000, True, id="the gateway reaches a model server"),
    pytest.param("gateway", HOSTED, 443, True, id="the gateway reaches a hosted API"),
    pytest.param(STRANGER, "gateway", 8080, False, id="who is no run does not call the gateway"),
    pytest.param(STRANGER, "gateway", 8081, False, id="who is not the operator does not steer the gateway"),
    pytest.param(STRANGER, "operator", 8082, False, id="nobody asks the operator how it is"),
    pytest.param(PROMETHEUS, "operator", 9090, True, id="Prometheus reads the operator's metrics"),
    pytest.param(PROMETHEUS, "gateway", 9090, True, id="Prometheus reads the gateway's metrics"),
    pytest.param("test", "operator", 8082, True, id="helm test asks the operator"),
    pytest.param("test", "gateway", 9090, True, id="helm test asks the gateway"),
    pytest.param("test", "gateway", 8080, True, id="helm test calls the gateway"),
]


@pytest.mark.parametrize("values", [pytest.param(ON, id="namespaced"), pytest.param(EVERYWHERE, id="whole cluster")])
@pytest.mark.parametrize(("source", "target", "port", "expected"), FLOWS)
def test_flow(values: Object, source: str | End, target: str | End, port: int, expected: bool) -> None:
    rendered = render(values)
    ends = {**_ours(rendered), "run": RUN}
    given = [ends[one] if isinstance(one, str) else one for one in (source, target)]
    assert allowed(rendered, given[0], given[1], port) is expected


def test_switched_off_there_are_none_and_everything_passes() -> None:
    assert render({"watchNamespaces": ["team-a"]}).kind("NetworkPolicy") == []
    assert allowed(render(), RUN, METADATA, 80)


def test_runs_of_other_namespaces_do_not_reach_a_gateway_that_serves_some() -> None:
    rendered = render(ON)
    assert not allowed(rendered, OTHER_RUN, _ours(rendered)["gateway"], 8080)


def test_runs_of_all_namespaces_reach_a_gateway_that_serves_all() -> None:
    rendered = render(EVERYWHERE)
    assert allowed(rendered, OTHER_RUN, _ours(rendered)["gateway"], 8080)


def test_dns_goes_over_udp_too() -> None:
    rendered = render(ON)
    for source in (RUN, *(_ours(rendered)[component] for component in COMPONENTS)):
        assert allowed(rendered, source, DNS, 53, "UDP")
    assert not allowed(rendered, RUN, _ours(rendered)["gateway"], 8080, "UDP")


NARROW: Object = {
    "enabled": True,
    "runEgress": [{"to": [{"ipBlock": {"cidr": "203.0.113.0/24", "except": ["203.0.113.8/32"]}}]}],
    "gatewayEgress": [{"to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "models"}}}]}],
    "operatorEgress": [{"to": [{"ipBlock": {"cidr": "203.0.113.7/32"}}], "ports": [{"port": 4318, "protocol": "TCP"}]}],
    "metricsFrom": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}],
    "dnsTo": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}}],
    "dnsPorts": [5353],
    "apiServerTo": [{"ipBlock": {"cidr": "10.0.0.1/32"}}],
    "apiServerPorts": [16443],
}


@pytest.mark.parametrize(
    ("source", "target", "port", "expected"),
    [
        pytest.param("run", HOSTED, 443, True, id="a run reaches what the user lists"),
        pytest.param("run", End("203.0.113.8"), 443, False, id="and not what the user excepts"),
        pytest.param("run", End("198.51.100.1"), 5353, False, id="a run asks no strange DNS server"),
        pytest.param("run", DNS, 5353, True, id="a run asks the cluster's DNS on its own port"),
        pytest.param("gateway", MODEL, 8000, True, id="the gateway reaches what the user lists"),
        pytest.param("gateway", HOSTED, 443, False, id="the gateway reaches nothing else"),
        pytest.param("gateway", API_SERVER, 16443, True, id="but still the API server"),
        pytest.param("gateway", DNS, 5353, True, id="and DNS"),
        pytest.param("operator", HOSTED, 4318, True, id="the operator reaches what the user lists"),
        pytest.param("operator", HOSTED, 443, False, id="and no other port of it"),
        pytest.param("operator", End("10.0.0.2"), 16443, False, id="the operator reaches no other address"),
        pytest.param(PROMETHEUS, "gateway", 9090, True, id="who is named reads metrics"),
        pytest.param(STRANGER, "gateway", 9090, False, id="nobody else reads metrics"),
        pytest.param("test", "gateway", 9090, True, id="helm test still asks the gateway"),
    ],
)
def test_flow_with_everything_narrowed(source: str | End, target: str | End, port: int, expected: bool) -> None:
    rendered = render({"networkPolicy": NARROW, "watchNamespaces": ["team-a"]})
    ends = {**_ours(rendered), "run": RUN}
    given = [ends[one] if isinstance(one, str) else one for one in (source, target)]
    assert allowed(rendered, given[0], given[1], port) is expected


def test_run_namespaces_take_the_place_of_the_served_ones() -> None:
    policies = render({**ON, "networkPolicy": {"enabled": True, "runNamespaces": ["b", "c"]}}).kind("NetworkPolicy")
    bound = {one["metadata"]["namespace"] for one in policies if one["metadata"]["name"].endswith("-runs")}
    assert bound == {"b", "c"}
