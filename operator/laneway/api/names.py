"""Labels, field managers, and the names of children: each is built here and nowhere else."""

from __future__ import annotations

from laneway.api.base import GROUP

RUN_LABEL = f"{GROUP}/run"
RUN_UID_LABEL = f"{GROUP}/run-uid"
ATTEMPT_LABEL = f"{GROUP}/attempt"
LANE_LABEL = f"{GROUP}/lane"
RETRY_OF_LABEL = f"{GROUP}/retry-of"
LANE_NAMESPACE_LABEL = f"{GROUP}/lane-namespace"
CREDENTIAL_LABEL = f"{GROUP}/credential"
LAST_ERROR_ANNOTATION = f"{GROUP}/last-error"
MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
MANAGED_BY = "laneway"

STATUS_MANAGER = "laneway-status"
SPEC_MANAGER = "laneway-operator"
PERSON_MANAGER = "kubectl-laneway"
"""Who writes what a person asks for on the command line."""
REPORTING_CONTROLLER = f"{GROUP}/operator"

AGENT_CONTAINER = "agent"
LOG_KEY = "log"
"""Where the ConfigMap of a log has it."""

_RUN_PART = 40
_UID_PART = 8


def pod_name(*, run: str, uid: str, attempt: int) -> str:
    """The pod of one attempt. The uid keeps a re-created run of the same name away from the old one's pod."""
    return f"{_stem(run, uid)}-{attempt}"


def file_annotation(number: int) -> str:
    """The pod's annotation with the content of one file of its preset."""
    return f"{GROUP}/file-{number}"


def prompt_name(*, run: str, uid: str) -> str:
    """The immutable ConfigMap that holds an inline prompt, one a run."""
    return f"{_stem(run, uid)}-prompt"


def log_name(*, run: str, uid: str) -> str:
    """The immutable ConfigMap that keeps the end of a log, one a run: that of its last attempt."""
    return f"{_stem(run, uid)}-log"


def workspace_name(*, run: str, uid: str) -> str:
    """The claim of a workspace, one a run: attempts come and go."""
    return _stem(run, uid)


def _stem(run: str, uid: str) -> str:
    return f"{run[:_RUN_PART].rstrip('-')}-{uid[:_UID_PART]}"
