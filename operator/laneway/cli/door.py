"""The commands' way to the Kubernetes API: whose objects are meant, and what goes wrong, in words."""

from __future__ import annotations

import difflib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from pydantic import ValidationError

from laneway.api.base import Model
from laneway.api.names import PERSON_MANAGER
from laneway.kube.client import Kube
from laneway.kube.connection import Connection
from laneway.kube.errors import Conflict, Forbidden, KubeError, NotFound, Unavailable
from laneway.kube.podstreams import PodStreams
from laneway.kube.resources import JsonObject, Resource

Kind = TypeVar("Kind", bound=Model)

_UNAUTHORIZED = 401
_NEAR_SHOWN = 3


class CommandError(Exception):
    """The command cannot do what was asked; the message says why, in a sentence for people."""


class RunFailedError(CommandError):
    """The command did what was asked, and the run that it waited for did not end well."""


class TimedOutError(CommandError):
    """The time that the person gave is over; the run goes on."""


@dataclass(frozen=True)
class Door:
    """The API server, and the namespace that is meant."""

    kube: Kube
    streams: PodStreams
    namespace: str
    now: datetime
    """When the command was given."""
    colours: bool = False
    """Whether what is printed goes to a terminal that wants them."""

    async def get(self, resource: Resource, name: str) -> JsonObject:
        """An object of the namespace. Raises CommandError if there is none of that name."""
        try:
            return await self.kube.get(resource, self.namespace, name)
        except NotFound as error:
            if f'"{name}"' not in error.message:  # the kind itself is not there
                raise
            near = await self._near(resource, name)
            raise CommandError(f"there is no {resource.kind} {name} in namespace {self.namespace}{near}") from error

    async def _near(self, resource: Resource, name: str) -> str:
        """Names that may have been meant, for a person who mistyped; nothing for one who may not list them."""
        try:
            lines, _ = await self.kube.lines(resource, namespace=self.namespace)
        except KubeError:
            return ""
        names = [line.key.name for line in lines]
        near = difflib.get_close_matches(name, names, n=_NEAR_SHOWN)
        return f"; did you mean {' or '.join(near)}?" if near else ""

    async def patch(self, resource: Resource, obj: JsonObject, spec: JsonObject, *, same: bool = False) -> JsonObject:
        """Change fields of an object's spec; never of another object of its name. ``same``: nor of a later version of it."""
        meta = obj["metadata"]
        held = {"uid": meta["uid"], **({"resourceVersion": meta["resourceVersion"]} if same else {})}
        return await self.kube.merge_patch(resource, meta["namespace"], meta["name"], {"metadata": held, "spec": spec})


@asynccontextmanager
async def opened(
    *, namespace: str | None, kubeconfig: str | None, context: str | None, colours: bool
) -> AsyncIterator[Door]:
    """The door that kubectl's flags describe. Raises KubeError."""
    connection, usual = await Connection.open_for_person(kubeconfig=kubeconfig, context=context)
    kube = Kube(connection, manager=PERSON_MANAGER)
    try:
        yield Door(kube, PodStreams(connection), namespace or usual, datetime.now(UTC), colours)
    finally:
        await kube.close()


def parsed(kind: type[Kind], obj: JsonObject) -> Kind:
    """An object as our model of it. Raises CommandError for one that a newer version has written."""
    try:
        return kind.model_validate(obj)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        name = obj["metadata"]["name"]
        raise CommandError(
            f"{name} has a field that this version does not know: {where}; use the version of the operator"
        ) from error


def in_words(error: KubeError) -> str:
    """What a refusal or a silence of the API server means to the person at the keyboard."""
    if isinstance(error, Forbidden):
        return f"you may not do that: {error.message}"
    if isinstance(error, NotFound):
        return f"{error.message}; are Laneway's CustomResourceDefinitions installed?"
    if isinstance(error, Conflict):
        return f"it was changed by somebody else at the same moment; try again: {error.message}"
    if error.status == _UNAUTHORIZED:
        return f"the cluster does not know who you are; log in again: {error.message}"
    if isinstance(error, Unavailable) and error.status is None:
        return f"{error.message}; is the cluster up, and is this the right context? What was asked may have been done all the same"
    return error.message
