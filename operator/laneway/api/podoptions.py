"""``agent.pod``: the closed list of what a run may say about its pod.

Host namespaces, hostPath, privilege and nodeName cannot be expressed here, so nobody has to refuse them.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, ClassVar

from pydantic import Field, JsonValue
from pydantic.config import JsonDict

from laneway.api.base import ATOMIC_LIST, Model, Rule, int_or_string, list_map

Short = Annotated[str, Field(max_length=253)]
LabelValue = Annotated[str, Field(max_length=63)]
Text = Annotated[str, Field(max_length=4096)]
Quantity = Annotated[
    str,
    Field(
        max_length=32,
        pattern=r"^[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?$",
        coerce_numbers_to_str=True,
        json_schema_extra=int_or_string(maximum=9_000_000_000_000_000),
    ),
]
Opaque = Annotated[dict[str, Any], Field(json_schema_extra={"x-kubernetes-preserve-unknown-fields": True})]

OWN_KEYS = Rule(
    "self.all(k, !k.startsWith('laneway.dev/') && k != 'app.kubernetes.io/managed-by')",
    "keys that begin with laneway.dev/ and app.kubernetes.io/managed-by are Laneway's own",
)
OWN_VOLUMES = Rule(
    "self.all(v, !v.name.startsWith('laneway-'))", "volume names that begin with laneway- are Laneway's own"
)
OWN_PATHS = Rule(
    "self.all(m, m.mountPath != '/laneway' && !m.mountPath.startsWith('/laneway/'))", "/laneway is Laneway's own folder"
)
AGENT_PATHS = Rule(
    "self.all(m, !(m.mountPath in ['/workspace', '/tmp']))",
    "/workspace and /tmp of the agent are Laneway's own; mount below them or elsewhere",
)
OWN_CONTAINERS = Rule(
    "self.all(c, c.name != 'agent' && !c.name.startsWith('laneway-'))",
    "container names agent and those that begin with laneway- are Laneway's own",
)
OWN_ENV = Rule("self.all(e, !e.name.startsWith('LANEWAY_'))", "names that begin with LANEWAY_ are Laneway's own")


def ruled(*rules: Rule, **marks: JsonValue) -> JsonDict:
    """Schema marks of a field with CEL rules of its own."""
    return {**marks, "x-kubernetes-validations": [rule.to_wire() for rule in rules]}


class KeyRef(Model):
    """A key of a ConfigMap or Secret in the run's namespace."""

    name: Short = Field(min_length=1, description="Name of the object.")
    key: Short = Field(min_length=1, description="Key inside it.")


class EnvSource(Model):
    """Where the value of a variable comes from."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.secretKeyRef) != has(self.configMapKeyRef)",
            "exactly one of secretKeyRef and configMapKeyRef must be set",
        ),
    )

    secret_key_ref: KeyRef | None = Field(default=None, description="A key of a Secret in the run's namespace.")
    config_map_key_ref: KeyRef | None = Field(default=None, description="A key of a ConfigMap in the run's namespace.")


class EnvVar(Model):
    """One environment variable."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule("!(has(self.value) && has(self.valueFrom))", "set value or valueFrom, not both"),
    )

    name: str = Field(
        min_length=1, max_length=256, pattern="^[A-Za-z_][A-Za-z0-9_.-]*$", description="Name of the variable."
    )
    value: str | None = Field(
        default=None, max_length=32768, description="Value; no expansion of $(NAME) beyond Kubernetes' own."
    )
    value_from: EnvSource | None = Field(default=None, description="Where the value comes from, instead of value.")


class Resources(Model):
    """Requests and limits of a container."""

    requests: dict[Short, Quantity] | None = Field(default=None, max_length=16, description="What is reserved.")
    limits: dict[Short, Quantity] | None = Field(default=None, max_length=16, description="What may be used at most.")


class VolumeMount(Model):
    """Where a volume appears in the container."""

    name: LabelValue = Field(min_length=1, description="Name of a volume of this pod.")
    mount_path: Text = Field(min_length=1, description="Absolute path in the container.")
    sub_path: Text | None = Field(default=None, description="Path inside the volume.")
    read_only: bool = Field(default=False, description="Mount it read-only.")


class ConfigMapVolume(Model):
    """A ConfigMap as files."""

    name: Short = Field(min_length=1, description="Name of the ConfigMap.")


class SecretVolume(Model):
    """A Secret as files."""

    secret_name: Short = Field(min_length=1, description="Name of the Secret.")


class EmptyDirVolume(Model):
    """Scratch space that lives as long as the pod."""

    size_limit: Quantity | None = Field(default=None, description="Most that may be written, for example 1Gi.")


class ClaimVolume(Model):
    """A PersistentVolumeClaim of the run's namespace."""

    claim_name: Short = Field(min_length=1, description="Name of the claim.")
    read_only: bool = Field(default=False, description="Use it read-only.")


class Volume(Model):
    """One volume; exactly one source."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "[has(self.configMap), has(self.secret), has(self.emptyDir), has(self.persistentVolumeClaim)].exists_one(x, x)",
            "exactly one of configMap, secret, emptyDir and persistentVolumeClaim must be set",
        ),
    )

    name: LabelValue = Field(min_length=1, description="Name of the volume.")
    config_map: ConfigMapVolume | None = Field(default=None, description="A ConfigMap as files.")
    secret: SecretVolume | None = Field(default=None, description="A Secret as files.")
    empty_dir: EmptyDirVolume | None = Field(default=None, description="Scratch space.")
    persistent_volume_claim: ClaimVolume | None = Field(default=None, description="A claim of the run's namespace.")


class Operator(StrEnum):
    """How a toleration compares."""

    EXISTS = "Exists"
    EQUAL = "Equal"


class Toleration(Model):
    """A taint that the pod accepts, as in core/v1."""

    key: Short | None = Field(default=None, description="Taint key; absent with Exists means every taint.")
    operator: Operator = Field(default=Operator.EQUAL, description="Exists or Equal; Equal if absent.")
    value: Short | None = Field(default=None, description="Taint value, for Equal.")
    effect: str | None = Field(
        default=None,
        max_length=16,
        pattern="^(NoSchedule|PreferNoSchedule|NoExecute)$",
        description="Taint effect; absent means every effect.",
    )
    toleration_seconds: int | None = Field(default=None, ge=0, le=31_536_000, description="How long, for NoExecute.")


class LocalRef(Model):
    """An object of the run's namespace, by name."""

    name: Short = Field(min_length=1, description="Name of the object.")


class InitContainer(Model):
    """A container that runs to its end before the agent, for example to clone a repository into the workspace."""

    name: LabelValue = Field(min_length=1, description="Name of the container.")
    image: str = Field(min_length=1, max_length=512, description="Image of the container.")
    command: tuple[Text, ...] | None = Field(
        default=None, max_length=64, json_schema_extra=ATOMIC_LIST, description="Entry point."
    )
    args: tuple[Text, ...] | None = Field(
        default=None, max_length=256, json_schema_extra=ATOMIC_LIST, description="Arguments."
    )
    env: tuple[EnvVar, ...] | None = Field(
        default=None, max_length=128, json_schema_extra=ruled(OWN_ENV, **list_map("name")), description="Variables."
    )
    resources: Resources | None = Field(default=None, description="Requests and limits.")
    volume_mounts: tuple[VolumeMount, ...] | None = Field(
        default=None,
        max_length=32,
        json_schema_extra=ruled(OWN_PATHS, **list_map("mountPath")),
        description="Volumes of the container.",
    )


class PodSecurity(Model):
    """The two identities that a run may choose; all else is Pod Security restricted."""

    run_as_user: int | None = Field(default=None, ge=1, le=2_147_483_647, description="User id, never 0.")
    fs_group: int | None = Field(default=None, ge=1, le=2_147_483_647, description="Group that owns the volumes.")


class PodOptions(Model):
    """What a run may say about its pod; Laneway's own keys win."""

    labels: dict[str, LabelValue] | None = Field(
        default=None, max_length=32, json_schema_extra=ruled(OWN_KEYS), description="More labels."
    )
    annotations: dict[str, Text] | None = Field(
        default=None, max_length=32, json_schema_extra=ruled(OWN_KEYS), description="More annotations."
    )
    node_selector: dict[str, LabelValue] | None = Field(
        default=None, max_length=32, description="Labels the node must have."
    )
    tolerations: tuple[Toleration, ...] | None = Field(
        default=None, max_length=32, json_schema_extra=ATOMIC_LIST, description="Taints that are accepted."
    )
    affinity: Opaque | None = Field(
        default=None, description="Affinity, as in core/v1; checked when the pod is created."
    )
    topology_spread_constraints: tuple[Opaque, ...] | None = Field(
        default=None,
        max_length=16,
        json_schema_extra=ATOMIC_LIST,
        description="Spreading, as in core/v1; checked when the pod is created.",
    )
    runtime_class_name: Short | None = Field(default=None, description="Runtime class, for example a sandbox.")
    priority_class_name: Short | None = Field(default=None, description="Priority class of the pod.")
    scheduler_name: Short | None = Field(default=None, description="Scheduler that places the pod.")
    service_account_name: Short | None = Field(
        default=None, description="Service account of the pod; its token is not mounted unless a volume asks for it."
    )
    image_pull_secrets: tuple[LocalRef, ...] | None = Field(
        default=None, max_length=16, json_schema_extra=list_map("name"), description="Secrets for pulling the image."
    )
    security_context: PodSecurity | None = Field(default=None, description="User and group ids.")
    volumes: tuple[Volume, ...] | None = Field(
        default=None,
        max_length=32,
        json_schema_extra=ruled(OWN_VOLUMES, **list_map("name")),
        description="More volumes.",
    )
    volume_mounts: tuple[VolumeMount, ...] | None = Field(
        default=None,
        max_length=32,
        json_schema_extra=ruled(OWN_PATHS, AGENT_PATHS, **list_map("mountPath")),
        description="Where they appear in the agent's container.",
    )
    init_containers: tuple[InitContainer, ...] | None = Field(
        default=None,
        max_length=8,
        json_schema_extra=ruled(OWN_CONTAINERS, **list_map("name")),
        description="Containers that run before the agent.",
    )
