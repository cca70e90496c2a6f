"""The two Deployments' pods: what they may do on a node, what settings they get, how they are probed."""

from __future__ import annotations

import pytest

from laneway.settings import GatewaySettings, OperatorSettings, gateway_settings, operator_settings
from unit.chart.rendering import COMPONENTS, NAMESPACE, Object, nested, refusal, render

PRESETS: Object = {"presets": {"mine": {"description": "Ours.", "image": "example/agent:1"}}}
READERS = {"operator": operator_settings, "gateway": gateway_settings}
HARDENED: Object = {
    "podSecurityContext": {
        "supplementalGroups": [1000],
        "seLinuxOptions": {"level": "s0:c1"},
        "seccompProfile": {"type": "Localhost", "localhostProfile": "laneway.json"},
    },
    "securityContext": {"appArmorProfile": {"type": "RuntimeDefault"}},
}
OPENSHIFT: Object = {"podSecurityContext": {"runAsUser": None, "runAsGroup": None, "fsGroup": None}}


class ReadNames(dict[str, str]):
    """An environment that remembers which names were asked for."""

    def __init__(self, env: dict[str, str]) -> None:
        super().__init__(env)
        self.asked: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self.asked.add(name)
        return super().__getitem__(name)

    def get(self, name: str, default: str = "") -> str:  # type: ignore[override]
        self.asked.add(name)
        return super().get(name, default)


@pytest.mark.parametrize("component", COMPONENTS)
class TestRestrictedPodSecurity:
    @pytest.mark.parametrize(
        "values",
        [
            pytest.param({}, id="with no values"),
            pytest.param(OPENSHIFT, id="with users left to the cluster"),
            pytest.param({"gateway": {"persistence": {"enabled": False}}, **PRESETS}, id="with presets and no claim"),
        ],
    )
    def test_pod_meets_the_restricted_standard(self, component: str, values: Object) -> None:
        spec = render(values).pod(component)["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
        kinds = {kind for volume in spec["volumes"] for kind in volume if kind != "name"}
        assert kinds <= {"configMap", "emptyDir", "persistentVolumeClaim"}
        for container in [*spec["containers"], *spec.get("initContainers", [])]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }

    def test_profiles_of_ones_own_leave_the_rest_as_it_is(self, component: str) -> None:
        spec, plain = render(HARDENED).pod(component)["spec"], render().pod(component)["spec"]
        assert spec["securityContext"] == plain["securityContext"] | HARDENED["podSecurityContext"]
        [container], [plain_container] = spec["containers"], plain["containers"]
        assert container["securityContext"] == plain_container["securityContext"] | HARDENED["securityContext"]

    def test_user_is_numeric_and_can_be_left_to_the_cluster(self, component: str) -> None:
        users = {"runAsUser", "runAsGroup", "fsGroup"}
        ours = render().pod(component)["spec"]["securityContext"]
        assert {ours[name] for name in users} == {65532}
        assert not users & render(OPENSHIFT).pod(component)["spec"]["securityContext"].keys()

    def test_everything_written_lies_on_a_volume(self, component: str) -> None:
        mounts = {mount["mountPath"] for mount in render().container(component)["volumeMounts"]}
        assert mounts == {"/tmp"} | ({"/var/lib/laneway"} if component == "gateway" else set())

    def test_requests_and_a_memory_limit_are_set(self, component: str) -> None:
        resources = render().container(component)["resources"]
        assert resources["requests"].keys() == {"cpu", "memory"}
        assert resources["limits"].keys() == {"memory"}


def test_profile_of_ones_own_must_be_named() -> None:
    message = refusal(nested("podSecurityContext.seccompProfile.type", "Localhost"))
    assert "podSecurityContext.seccompProfile.localhostProfile must name a file" in message


def test_pod_of_helm_test_meets_the_restricted_standard_too() -> None:
    spec = render().get("Pod", "laneway-test")["spec"]
    assert spec["securityContext"] == render().pod("operator")["spec"]["securityContext"]
    [container] = spec["containers"]
    assert container["securityContext"] == render().container("operator")["securityContext"]
    assert container["image"] == render().container("operator")["image"]


class TestSettings:
    @pytest.mark.parametrize("component", COMPONENTS)
    def test_variables_are_exactly_those_that_the_program_reads(self, component: str) -> None:
        env = ReadNames(render(PRESETS).env(component))
        READERS[component](env)
        own = {name for name in env.asked if not name.startswith("OTEL_")}  # those are for traces, which are off
        assert env.keys() == own

    @pytest.mark.parametrize("component", COMPONENTS)
    def test_traces_go_where_they_are_to_go(self, component: str) -> None:
        headers = {"name": "otlp", "key": "headers"}
        values = {"tracing": {"endpoint": "http://otel:4318", "ratio": 0.25, "headersSecret": headers}}
        traces = READERS[component](render(values).env(component)).traces
        assert traces is not None
        assert (traces.url, traces.ratio) == ("http://otel:4318/v1/traces", 0.25)
        [told] = [one for one in render(values).container(component)["env"] if one["name"].endswith("_HEADERS")]
        assert told["valueFrom"] == {"secretKeyRef": headers}

    def test_operator_reads_what_was_meant(self) -> None:
        settings = operator_settings(render({"logFormat": "text", "logLevel": "debug"}).env("operator"))
        assert isinstance(settings, OperatorSettings)
        assert (settings.namespace, settings.identity) == ("metadata.namespace", "metadata.name")
        assert settings.watch_namespaces == ()
        assert settings.presets_dir is None
        assert (settings.log.level, settings.log.json) == ("debug", False)
        assert settings.gateway_url == f"http://laneway-gateway.{NAMESPACE}.svc:8080"

    def test_gateway_reads_what_was_meant(self) -> None:
        values = {"watchNamespaces": ["a", "b"], "gateway": {"bindPodAddress": False}}
        settings = gateway_settings(render(values).env("gateway"))
        assert isinstance(settings, GatewaySettings)
        assert settings.watch_namespaces == ("a", "b")
        assert settings.bind_pod_address is False
        assert str(settings.ledger_path) == "/var/lib/laneway/ledger.db"

    def test_gateway_is_told_what_no_lane_may_reach(self) -> None:
        upstream = {"allow": ["10.0.0.0/8", "fd00::/8"], "deny": ["10.1.0.0/16"]}
        env = render({"gateway": {"upstream": upstream}}).env("gateway")
        settings = gateway_settings(env)
        assert [str(network) for network in settings.upstream_allow] == upstream["allow"]
        assert [str(network) for network in settings.upstream_deny] == upstream["deny"]
        assert env["LANEWAY_POD_ADDRESSES"] == "status.podIPs"
        services = (f"laneway-gateway.{NAMESPACE}.svc", "kubernetes.default.svc")
        assert settings.refused_hosts == (*services, "$(KUBERNETES_SERVICE_HOST)")

    def test_both_speak_of_the_same_token_secret(self) -> None:
        rendered = render(release="prod")
        secrets = {
            one["value"]
            for found in rendered.kind("Deployment")
            for one in found["spec"]["template"]["spec"]["containers"][0]["env"]
            if one["name"] == "LANEWAY_TOKEN_SECRET"
        }
        assert secrets == {"prod-laneway-token-keys"}

    @pytest.mark.parametrize("component", COMPONENTS)
    def test_service_links_are_off_so_that_no_service_overwrites_a_setting(self, component: str) -> None:
        assert render().pod(component)["spec"]["enableServiceLinks"] is False

    @pytest.mark.parametrize(
        ("component", "variables"),
        [
            ("operator", {"health": "LANEWAY_HEALTH_PORT", "metrics": "LANEWAY_METRICS_PORT"}),
            (
                "gateway",
                {"calls": "LANEWAY_CALL_PORT", "operator": "LANEWAY_OPERATOR_PORT", "metrics": "LANEWAY_METRICS_PORT"},
            ),
        ],
    )
    def test_container_ports_are_the_ports_that_are_listened_on(
        self, component: str, variables: dict[str, str]
    ) -> None:
        rendered = render()
        ports = {port["name"]: port["containerPort"] for port in rendered.container(component)["ports"]}
        assert ports == {name: int(rendered.env(component)[variable]) for name, variable in variables.items()}


@pytest.mark.parametrize("component", COMPONENTS)
class TestProbes:
    @pytest.mark.parametrize(
        ("probe", "path"), [("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")]
    )
    def test_probe_asks_the_right_path_on_a_port_that_exists(self, component: str, probe: str, path: str) -> None:
        container = render().container(component)
        asked = container[probe]["httpGet"]
        assert asked == {"path": path, "port": "health" if component == "operator" else "metrics"}
        assert asked["port"] in [port["name"] for port in container["ports"]]


class TestImage:
    @pytest.mark.parametrize(
        ("image", "reference"),
        [
            pytest.param({}, "laneway:0.1.0", id="the default is the chart's own version"),
            pytest.param({"repository": "example/lw", "tag": "dev"}, "example/lw:dev", id="a tag is used"),
            pytest.param(
                {"tag": "dev", "digest": "sha256:" + "0" * 64}, "laneway@sha256:" + "0" * 64, id="a digest wins"
            ),
        ],
    )
    def test_operator_gateway_and_agent_run_one_image(self, image: Object, reference: str) -> None:
        rendered = render({"image": image})
        assert {rendered.container(component)["image"] for component in COMPONENTS} == {reference}
        assert rendered.env("operator")["LANEWAY_AGENT_IMAGE"] == reference

    @pytest.mark.parametrize("component", COMPONENTS)
    def test_subcommand_is_the_component(self, component: str) -> None:
        assert render().container(component)["args"] == [component]


class TestPlacement:
    @pytest.mark.parametrize("component", COMPONENTS)
    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("nodeSelector", {"disk": "ssd"}),
            ("tolerations", [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}]),
            ("affinity", {"nodeAffinity": {}}),
            (
                "topologySpreadConstraints",
                [{"maxSkew": 2, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}],
            ),
            ("priorityClassName", "high"),
        ],
    )
    def test_value_reaches_the_pods_of_its_component_alone(self, component: str, name: str, value: object) -> None:
        rendered = render(nested(f"{component}.{name}", value))
        (other,) = set(COMPONENTS) - {component}
        assert rendered.pod(component)["spec"][name] == value
        assert rendered.pod(other)["spec"].get(name) == render().pod(other)["spec"].get(name)

    def test_replicas_of_the_operator_keep_apart_where_they_can(self) -> None:
        (spread,) = render().pod("operator")["spec"]["topologySpreadConstraints"]
        assert spread["whenUnsatisfiable"] == "ScheduleAnyway"
        assert spread["labelSelector"]["matchLabels"].items() <= render().pod("operator")["metadata"]["labels"].items()

    @pytest.mark.parametrize("component", COMPONENTS)
    def test_extra_variables_and_volumes_come_after_ours(self, component: str) -> None:
        extra: Object = {
            "extraEnv": [{"name": "TZ", "value": "UTC"}],
            "extraVolumes": [{"name": "more", "emptyDir": {}}],
            "extraVolumeMounts": [{"name": "more", "mountPath": "/more"}],
        }
        plain, rendered = render(PRESETS), render({component: extra, **PRESETS})
        ours, theirs = plain.container(component), rendered.container(component)
        assert theirs["env"] == ours["env"] + extra["extraEnv"]
        assert theirs["volumeMounts"] == ours["volumeMounts"] + extra["extraVolumeMounts"]
        assert rendered.pod(component)["spec"]["volumes"] == [
            *plain.pod(component)["spec"]["volumes"],
            *extra["extraVolumes"],
        ]

    @pytest.mark.parametrize("component", COMPONENTS)
    def test_annotations_of_the_deployment_stand_on_it_and_not_on_its_pods(self, component: str) -> None:
        rendered = render(nested(f"{component}.deploymentAnnotations", {"team": "ml"}))
        assert rendered.get("Deployment", f"laneway-{component}")["metadata"]["annotations"] == {"team": "ml"}
        assert rendered.pod(component) == render().pod(component)

    @pytest.mark.parametrize("component", COMPONENTS)
    def test_service_account_gets_labels_and_annotations(self, component: str) -> None:
        given = {"labels": {"team": "ml"}, "annotations": {"role": "x"}}
        metadata = render(nested(f"{component}.serviceAccount", given)).get("ServiceAccount", f"laneway-{component}")[
            "metadata"
        ]
        assert metadata["labels"]["team"] == "ml"
        assert metadata["labels"]["app.kubernetes.io/component"] == component
        assert metadata["annotations"] == {"role": "x"}

    def test_dns_and_kept_versions_are_for_both(self) -> None:
        given: Object = {
            "dnsPolicy": "None",
            "dnsConfig": {"nameservers": ["10.96.0.10"]},
            "revisionHistoryLimit": 0,
        }
        rendered = render(given)
        for component in COMPONENTS:
            assert rendered.pod(component)["spec"]["dnsPolicy"] == "None"
            assert rendered.pod(component)["spec"]["dnsConfig"] == given["dnsConfig"]
            assert rendered.get("Deployment", f"laneway-{component}")["spec"]["revisionHistoryLimit"] == 0

    def test_pull_secrets_are_for_both(self) -> None:
        rendered = render({"imagePullSecrets": [{"name": "pull"}]})
        assert [rendered.pod(one)["spec"]["imagePullSecrets"] for one in COMPONENTS] == [[{"name": "pull"}]] * 2

    @pytest.mark.parametrize("component", COMPONENTS)
    def test_pod_labels_and_annotations_are_added_and_ours_win(self, component: str) -> None:
        extra = {"team": "ml", "app.kubernetes.io/component": "other"}
        metadata = render({component: {"podLabels": extra, "podAnnotations": {"note": "x"}}}).pod(component)["metadata"]
        assert metadata["labels"]["team"] == "ml"
        assert metadata["labels"]["app.kubernetes.io/component"] == component
        assert metadata["annotations"]["note"] == "x"
