"""The manifests of what a run keeps through all its attempts, built purely: its prompt, its workspace, the end of its log."""

from __future__ import annotations

from typing import Any

from laneway.api import names
from laneway.api.base import API_VERSION
from laneway.api.workspace import Workspace
from laneway.controller.facts.objects import Run

PROMPT_KEY = "prompt"


def build_prompt(run: Run) -> dict[str, Any]:
    """The immutable ConfigMap of an inline prompt."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _meta(run, prompt_name(run)),
        "immutable": True,
        "data": {PROMPT_KEY: run.spec.prompt},
    }


def build_log(run: Run, text: str) -> dict[str, Any]:
    """The immutable ConfigMap with the end of the log of a run that did not end well."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _meta(run, names.log_name(run=run.meta.name, uid=run.meta.uid)),
        "immutable": True,
        "data": {names.LOG_KEY: text},
    }


def build_claim(run: Run, workspace: Workspace) -> dict[str, Any]:
    """The claim of a workspace: one pod at a time writes it, so one node is enough."""
    spec: dict[str, Any] = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": workspace.size}},
    }
    if workspace.storage_class_name is not None:
        spec["storageClassName"] = workspace.storage_class_name
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": _meta(run, names.workspace_name(run=run.meta.name, uid=run.meta.uid)),
        "spec": spec,
    }


def prompt_name(run: Run) -> str:
    """The ConfigMap of an inline prompt."""
    return names.prompt_name(run=run.meta.name, uid=run.meta.uid)


def claim_name(run: Run) -> str | None:
    """The claim of the run's workspace; None when each attempt begins with an empty one."""
    if run.spec.agent.workspace is None:
        return None
    return names.workspace_name(run=run.meta.name, uid=run.meta.uid)


def owner_reference(run: Run) -> dict[str, Any]:
    """The run as controlling owner; it never blocks the run's deletion."""
    return {
        "apiVersion": API_VERSION,
        "kind": "AgentRun",
        "name": run.meta.name,
        "uid": run.meta.uid,
        "controller": True,
        "blockOwnerDeletion": False,
    }


def run_labels(run: Run) -> dict[str, str]:
    """Labels by which a child is found by people."""
    return {
        names.RUN_LABEL: run.meta.name,
        names.RUN_UID_LABEL: run.meta.uid,
        names.MANAGED_BY_LABEL: names.MANAGED_BY,
    }


def _meta(run: Run, name: str) -> dict[str, Any]:
    return {
        "name": name,
        "namespace": run.meta.namespace,
        "labels": run_labels(run),
        "ownerReferences": [owner_reference(run)],
    }
