"""What a person is told of a tool that brings the same object again."""

from __future__ import annotations

import json
from typing import Any

import pytest

import manifests
from laneway.cli.gitops import warning

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def run(*, applied: dict[str, Any] | None = None, owned: tuple[str, ...] | None = None, **marks: Any) -> dict[str, Any]:
    """A run that was applied with this spec from the client, or with these fields on the server."""
    annotations = dict(marks.pop("annotations", {}))
    if applied is not None:
        annotations[LAST_APPLIED] = json.dumps({"spec": applied})
    fields = {"f:spec": {f"f:{name}": {} for name in owned or ()}}
    managed = [
        {"manager": "kubectl-laneway", "operation": "Update", "fieldsV1": {"f:spec": {"f:suspend": {}}}},
        {"manager": "laneway-status", "operation": "Apply", "subresource": "status", "fieldsV1": {"f:status": {}}},
    ]
    if owned is not None:
        managed.append({"manager": "argocd-controller", "operation": "Apply", "fieldsV1": fields})
    return manifests.run(annotations=annotations, managedFields=managed, **marks)


ARGO = {"annotations": {"argocd.argoproj.io/tracking-id": "shop:laneway.dev/AgentRun:team-a/hello"}}


@pytest.mark.parametrize(
    ("obj", "expected"),
    [
        pytest.param(run(), "", id="nobody keeps it"),
        pytest.param(manifests.run(), "", id="it has no marks at all"),
        pytest.param(
            run(applied={"prompt": "x"}), "", id="a manifest that was applied once without the field is no news"
        ),
        pytest.param(
            run(applied={"suspend": False}),
            "Its manifest, brought by kubectl apply, has spec.suspend too and puts it back next time: change it there.",
            id="a manifest that was applied with the field",
        ),
        pytest.param(
            run(applied={"prompt": "x"}, **ARGO),
            "It is brought by Argo CD (application shop), whose manifest does not have spec.suspend: that stays as it is now,"
            " unless the whole object is replaced.",
            id="Argo CD without the field leaves it alone",
        ),
        pytest.param(
            run(owned=("prompt", "suspend"), **ARGO),
            "Its manifest, brought by Argo CD (application shop), has spec.suspend too and puts it back next time: change it there.",
            id="Argo CD by server-side apply with the field puts it back",
        ),
        pytest.param(
            run(owned=("prompt",), labels={"kustomize.toolkit.fluxcd.io/name": "jobs"}),
            "It is brought by Flux (Kustomization jobs), whose manifest does not have spec.suspend: that stays as it is now,"
            " unless the whole object is replaced.",
            id="Flux without the field leaves it alone",
        ),
        pytest.param(
            run(annotations={"meta.helm.sh/release-name": "job"}),
            "It is brought by Helm (release job): if that has spec.suspend, it puts it back next time; change it there.",
            id="of Helm's manifest nothing is known here",
        ),
        pytest.param(
            run(annotations={LAST_APPLIED: "{", **ARGO["annotations"]}),
            "It is brought by Argo CD (application shop), whose manifest does not have spec.suspend: that stays as it is now,"
            " unless the whole object is replaced.",
            id="an annotation that cannot be read has nothing",
        ),
    ],
)
def test_a_changed_field_is_told_with_what_becomes_of_it(obj: dict[str, Any], expected: str) -> None:
    assert warning(obj, "suspend") == expected
