"""Rights: least privilege in both modes, and a table in the docs that says the same as the chart."""

from __future__ import annotations

import re

import pytest

from unit.chart.rendering import COMPONENTS, NAMESPACE, TREE, Object, Rendered, render
from unit.chart.rights import BINDINGS, ROLES, Right, all_of, rendered_role, rights_in

NAMESPACES = ["team-a", "team-b"]
NAMESPACED: Object = {"watchNamespaces": NAMESPACES}
MODES = [pytest.param({}, id="for the whole cluster"), pytest.param(NAMESPACED, id="for two namespaces")]


@pytest.mark.parametrize("values", MODES)
class TestInBothModes:
    def test_nothing_is_granted_by_a_wildcard(self, values: Object) -> None:
        for role in all_of(render(values), ROLES):
            for rule in role["rules"]:
                assert rule.keys() <= {"apiGroups", "resources", "resourceNames", "verbs"}
                assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]], Rendered.label(role)
                assert all(name for name in rule.get("resourceNames", ["x"]))

    def test_every_binding_joins_an_existing_role_and_an_existing_account(self, values: Object) -> None:
        rendered = render(values)
        for binding in all_of(rendered, BINDINGS):
            role = rendered_role(rendered, binding)
            assert role["metadata"]["labels"] == binding["metadata"]["labels"]
            (subject,) = binding["subjects"]
            rendered.get("ServiceAccount", subject["name"])
            assert subject["namespace"] == NAMESPACE

    def test_every_pod_runs_as_the_account_of_its_component(self, values: Object) -> None:
        rendered = render(values)
        for component in COMPONENTS:
            assert rendered.pod(component)["spec"]["serviceAccountName"] == f"laneway-{component}"
            assert rendered.pod(component)["spec"]["automountServiceAccountToken"] is True
            assert rendered.get("ServiceAccount", f"laneway-{component}")["automountServiceAccountToken"] is False

    def test_gateway_writes_nothing(self, values: Object) -> None:
        assert {verb for who, *_, verb in rights_in(render(values)) if who == "gateway"} == {"get", "list", "watch"}

    def test_secrets_are_never_listed_and_the_operator_reads_one(self, values: Object) -> None:
        rights = [right for right in rights_in(render(values)) if right[2] == "secrets"]
        assert {verb for *_, verb in rights} == {"get", "create"}
        assert {right[1:] for right in rights if right[0] == "operator"} == {
            ("own", "secrets", "", "create"),
            ("own", "secrets", "laneway-token-keys", "get"),
        }

    @pytest.mark.row("S4.49")
    def test_workspaces_are_made_and_never_changed_or_deleted(self, values: Object) -> None:
        rights = {right for right in rights_in(render(values)) if right[2] == "persistentvolumeclaims"}
        assert {(who, where, verb) for who, where, *_, verb in rights} == {
            ("operator", "served", "get"),
            ("operator", "served", "create"),
        }

    def test_operator_writes_status_and_of_specs_only_a_runs_and_deletes_runs_alone(self, values: Object) -> None:
        ours = {
            (resource, verb)
            for who, _, resource, _, verb in rights_in(render(values))
            if who == "operator" and resource.endswith("laneway.dev") and verb not in {"get", "list", "watch"}
        }
        assert ours == {
            ("agentruns.laneway.dev", "patch"),
            ("agentruns.laneway.dev", "delete"),
            ("agentruns/status.laneway.dev", "patch"),
            ("modellanes/status.laneway.dev", "patch"),
        }


class TestNamespacedMode:
    def test_no_right_of_ours_reaches_beyond_the_namespaces(self) -> None:
        rendered = render(NAMESPACED)
        assert rendered.kind("ClusterRoleBinding") == []
        assert {role["metadata"]["name"] for role in rendered.kind("ClusterRole")} == {
            f"laneway-{kind}-{role}" for kind in ("agentrun", "modellane") for role in ("viewer", "editor")
        }
        assert {one["metadata"]["namespace"] for one in all_of(rendered, ("Role", "RoleBinding"))} == {
            NAMESPACE,
            *NAMESPACES,
        }

    def test_each_namespace_gets_what_the_cluster_mode_gives_but_what_lies_elsewhere(self) -> None:
        elsewhere = {"nodes", "endpointslices.discovery.k8s.io"}
        cluster = {right[2:] for right in rights_in(render()) if right[1] == "served" and right[2] not in elsewhere}
        for namespace in NAMESPACES:
            assert {
                right[2:] for right in rights_in(render({"watchNamespaces": [namespace]})) if right[1] == "served"
            } == cluster

    def test_release_namespace_can_be_one_of_them(self) -> None:
        labels = [Rendered.label(found) for found in render({"watchNamespaces": [NAMESPACE]}).objects]
        assert len(labels) == len(set(labels))

    def test_without_definitions_and_user_roles_nothing_is_cluster_scoped(self) -> None:
        rendered = render({**NAMESPACED, "crds": {"enabled": False}, "rbac": {"userRoles": False}})
        assert [Rendered.label(one) for one in rendered.objects if "namespace" not in one["metadata"]] == []


class TestSwitches:
    def test_without_rbac_nobody_gets_a_right(self) -> None:
        assert all_of(render({"rbac": {"create": False, "userRoles": False}}), ROLES + BINDINGS) == []

    def test_given_account_is_bound_and_not_created(self) -> None:
        rendered = render({"gateway": {"serviceAccount": {"create": False, "name": "mine"}}})
        assert [one["metadata"]["name"] for one in rendered.kind("ServiceAccount")] == ["laneway-operator"]
        assert rendered.pod("gateway")["spec"]["serviceAccountName"] == "mine"
        assert rendered.get("ClusterRoleBinding", "laneway-gateway")["subjects"][0]["name"] == "mine"


class TestRolesForPeople:
    @pytest.mark.parametrize(
        ("name", "into"),
        [
            pytest.param("agentrun-viewer", {"view", "edit", "admin"}, id="who may look may look at runs"),
            pytest.param("agentrun-editor", {"edit", "admin"}, id="who may run pods may run agents"),
            pytest.param("modellane-viewer", {"view", "edit", "admin"}, id="who may look may look at lanes"),
            pytest.param(
                "modellane-editor", set(), id="who may write lanes is named, because a lane sends a Secret to a URL"
            ),
        ],
    )
    def test_aggregation(self, name: str, into: set[str]) -> None:
        prefix = "rbac.authorization.k8s.io/aggregate-to-"
        labels = render().get("ClusterRole", f"laneway-{name}")["metadata"]["labels"]
        assert {key.removeprefix(prefix) for key in labels if key.startswith(prefix)} == into
        plain = render({"rbac": {"aggregateClusterRoles": False}}).get("ClusterRole", f"laneway-{name}")
        assert not [key for key in plain["metadata"]["labels"] if key.startswith(prefix)]

    @pytest.mark.parametrize("resource", ["agentruns", "modellanes"])
    def test_nobody_may_write_status(self, resource: str) -> None:
        viewer, editor = (
            render().get("ClusterRole", f"laneway-{resource.removesuffix('s')}-{role}")["rules"]
            for role in ("viewer", "editor")
        )
        read = ["get", "list", "watch"]
        assert viewer == [{"apiGroups": ["laneway.dev"], "resources": [resource], "verbs": read}]
        write = ["create", "update", "patch", "delete", "deletecollection"]
        assert editor == [{"apiGroups": ["laneway.dev"], "resources": [resource], "verbs": read + write}]


def test_table_in_the_docs_lists_every_right_and_no_other() -> None:
    assert _documented() == rights_in(render())


def _documented() -> set[Right]:
    """The rows of the table of docs/install.md that begin with a component."""
    rights: set[Right] = set()
    for line in (TREE / "docs" / "install.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not line.startswith("|") or cells[0] not in COMPONENTS:
            continue
        who, where, resources, verbs, reason = cells
        assert reason, line
        for resource, name in re.findall(r"`([^`]+)`(?: named `([^`]+)`)?", resources):
            rights |= {(who, where, resource, name, verb.strip()) for verb in verbs.split(",")}
    return rights
