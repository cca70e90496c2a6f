"""The token Secret: made once by whoever leads first, read by operator and gateway."""

from __future__ import annotations

import secrets

from laneway.api import names
from laneway.kube.client import Kube
from laneway.kube.errors import AlreadyExists, NotFound
from laneway.kube.resources import SECRETS, JsonObject
from laneway.rules.token import KEY_BYTES, TokenKeys, new_secret_data, parse_secret_data


async def ensure_keys(kube: Kube, *, namespace: str, name: str) -> TokenKeys:
    """The token keys; they are made if there are none yet. Raises ValueError if the Secret is not a token Secret."""
    try:
        found = await kube.get(SECRETS, namespace, name)
    except NotFound:
        found = await _create(kube, namespace=namespace, name=name)
    return parse_secret_data(found.get("data") or {})


async def _create(kube: Kube, *, namespace: str, name: str) -> JsonObject:
    body = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace, "labels": {names.MANAGED_BY_LABEL: names.MANAGED_BY}},
        "type": "Opaque",
        "data": new_secret_data(key_id=f"k{secrets.token_hex(3)}", key=secrets.token_bytes(KEY_BYTES)),
    }
    try:
        return await kube.create(SECRETS, namespace, body)
    except AlreadyExists:
        return await kube.get(SECRETS, namespace, name)
