"""Every single right that the chart gives to operator and gateway."""

from __future__ import annotations

from unit.chart.rendering import Object, Rendered

ROLES = ("Role", "ClusterRole")
BINDINGS = ("RoleBinding", "ClusterRoleBinding")

Right = tuple[str, str, str, str, str]
"""Component, where, resource with its group, resource name, verb."""


def rendered_role(rendered: Rendered, binding: Object) -> Object:
    """The role of a binding: of the same namespace if it is a Role."""
    reference, namespace = binding["roleRef"], binding["metadata"].get("namespace")
    (found,) = [
        role
        for role in rendered.kind(reference["kind"])
        if (role["metadata"]["name"], role["metadata"].get("namespace")) == (reference["name"], namespace)
    ]
    return dict(found)


def all_of(rendered: Rendered, kinds: tuple[str, ...]) -> list[Object]:
    return [found for kind in kinds for found in rendered.kind(kind)]


def rights_in(rendered: Rendered) -> set[Right]:
    """Every right of our two accounts; ``served`` is the cluster or a served namespace, ``own`` the release's namespace."""
    return {
        (
            binding["metadata"]["labels"]["app.kubernetes.io/component"],
            "own" if binding["metadata"]["name"].endswith("-own") else "served",
            f"{resource}.{group}" if group else resource,
            name,
            verb,
        )
        for binding in all_of(rendered, BINDINGS)
        for rule in rendered_role(rendered, binding)["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for name in rule.get("resourceNames", [""])
        for verb in rule["verbs"]
    }
