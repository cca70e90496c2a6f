"""What operator and gateway have asked of the API server, by its audit log, against the rights that the chart gives them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from unit.chart.rights import Right

SYSTEM = "laneway-system"
_ACCOUNT = f"system:serviceaccount:{SYSTEM}:laneway-"
_DECISION = "authorization.k8s.io/decision"

Request = dict[str, Any]


def read(log: Path) -> list[Request]:
    """The requests so far; a line that is only half written is left out."""
    lines = log.read_text().split("\n")[:-1] if log.exists() else []
    return [json.loads(line) for line in lines]


def unused(rights: Iterable[Right], requests: Iterable[Request]) -> set[Right]:
    """The rights that no request has needed."""
    needs = {_need(request) for request in requests if request.get("objectRef")}
    return {right for right in rights if not any(_covers(right, need) for need in needs)}


def forbidden(requests: Iterable[Request]) -> list[str]:
    """The requests that no right allowed."""
    return [
        f"{request['user']['username']}: {request['verb']} {request['requestURI']}"
        for request in requests
        if request.get("annotations", {}).get(_DECISION) == "forbid"
    ]


def _need(request: Request) -> tuple[str, str, str, str, str]:
    """Component, namespace, resource with its group, name and verb."""
    ref = request["objectRef"]
    resource = "/".join(part for part in (ref["resource"], ref.get("subresource")) if part)
    kind = f"{resource}.{ref['apiGroup']}" if ref.get("apiGroup") else resource
    component = request["user"]["username"].removeprefix(_ACCOUNT)
    return component, ref.get("namespace", ""), kind, ref.get("name", ""), request["verb"]


def _covers(right: Right, need: tuple[str, str, str, str, str]) -> bool:
    who, where, resource, name, verb = right
    component, namespace, kind, named, asked = need
    return (
        (who, resource, verb) == (component, kind, asked)
        and name in {"", named}
        and (where == "served" or namespace == SYSTEM)
    )
