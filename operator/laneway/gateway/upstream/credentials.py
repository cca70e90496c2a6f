"""The lanes' keys: read by name from labelled Secrets, kept in memory for a minute, shown to no one but the model server."""

from __future__ import annotations

import asyncio
import base64
import binascii
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

from laneway.api.endpoint import Auth
from laneway.api.names import CREDENTIAL_LABEL
from laneway.gateway.cluster.objects import Lane
from laneway.rules.endpoint import auth_of

_KEEP_SECONDS = 60.0
_AGAIN_SECONDS = 10.0
"""Who asks while an old key is being read again gets the old one for so long; so does everybody after a read that failed."""
_WAIT_SECONDS = 2.0
"""A call waits no longer than this for a Secret whose key is known: an API server that hangs must not hold every call."""
_FIRST_WAIT_SECONDS = 10.0
"""The same where no key is known yet."""
_LONGEST_KEY = 4096

ReadSecret: TypeAlias = Callable[[str, str], Awaitable[Mapping[str, Any] | None]]
"""The Secret of a namespace and name; None when there is none. Raises OSError when the API server cannot be asked."""


class CredentialMissing(Exception):  # noqa: N818 - it says what happened
    """The lane names a key that the gateway may not or cannot use; the message says what is missing."""


class Credentials:
    """Keys by lane."""

    def __init__(self, read: ReadSecret, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._read = read
        self._monotonic = monotonic
        self._kept: dict[tuple[str, str, str], tuple[str, float]] = {}
        """Each key, and until when it is used without a look at its Secret."""

    async def key_of(self, lane: Lane) -> str | None:
        """The lane's key; None if it needs none. An old key is used on while the API server is away. Raises CredentialMissing."""
        place = _place(lane)
        if place is None:
            return None
        kept, now = self._kept.get(place), self._monotonic()
        if kept is None:
            return await self.read_again(lane)
        if now < kept[1]:
            return kept[0]
        self._kept[place] = kept[0], now + _AGAIN_SECONDS
        return await self.read_again(lane)

    def last_key(self, lane: Lane) -> str | None:
        """The key that was read last; None if there was none that could be used."""
        place = _place(lane)
        kept = None if place is None else self._kept.get(place)
        return None if kept is None else kept[0]

    async def has_other_than(self, key: str | None, lane: Lane) -> bool:
        """Whether the lane's Secret holds a key that can be used, and another one than this."""
        try:
            return await self.read_again(lane) not in (key, None)
        except CredentialMissing:
            return False

    async def read_again(self, lane: Lane) -> str | None:
        """The lane's key as it is now. Raises CredentialMissing."""
        place = _place(lane)
        if place is None:
            return None
        namespace, name, entry = place
        try:
            async with asyncio.timeout(_WAIT_SECONDS if place in self._kept else _FIRST_WAIT_SECONDS):
                secret = await self._read(namespace, name)
        except OSError as error:  # a time-out is one too
            if place in self._kept:
                return self._kept[place][0]
            raise CredentialMissing(f"Secret {name} cannot be read now: {str(error) or 'no answer in time'}") from error
        self._kept.pop(place, None)
        key = _key_in(secret, name=name, entry=entry)
        self._kept[place] = key, self._monotonic() + _KEEP_SECONDS
        return key


def lane_headers(lane: Lane, key: str | None) -> dict[str, str]:
    """What the lane adds to a request: its own headers, and the one that carries its key."""
    headers = {header.name: header.value for header in lane.spec.endpoint.headers}
    if key is None:
        return headers
    match auth_of(lane.spec.endpoint):
        case Auth.BEARER:
            return {**headers, "Authorization": f"Bearer {key}"}
        case Auth.X_API_KEY:
            return {**headers, "x-api-key": key}
        case Auth.X_GOOG_API_KEY:
            return {**headers, "x-goog-api-key": key}
        case Auth.NONE:
            return headers


def _place(lane: Lane) -> tuple[str, str, str] | None:
    ref = lane.spec.endpoint.credential_ref
    return None if ref is None else (lane.namespace, ref.name, ref.key)


def _key_in(secret: Mapping[str, Any] | None, *, name: str, entry: str) -> str:
    if secret is None:
        raise CredentialMissing(f"Secret {name} does not exist in the lane's namespace")
    if ((secret.get("metadata") or {}).get("labels") or {}).get(CREDENTIAL_LABEL) != "true":
        raise CredentialMissing(f'Secret {name} must carry the label {CREDENTIAL_LABEL}: "true"')
    raw = (secret.get("data") or {}).get(entry)
    if raw is None:
        raise CredentialMissing(f"Secret {name} has no key {entry}")
    try:
        key = base64.b64decode(raw, validate=True).strip()
    except binascii.Error:
        raise CredentialMissing(f"key {entry} of Secret {name} is not base64") from None
    if wrong := _wrong_with(key):
        raise CredentialMissing(f"key {entry} of Secret {name} {wrong}")
    return key.decode("ascii")


def _wrong_with(key: bytes) -> str | None:
    """Why a key cannot be sent in a header, without any of it."""
    if not key:
        return "is empty"
    if len(key) > _LONGEST_KEY:
        return f"has more than {_LONGEST_KEY} bytes"
    if b"\n" in key or b"\r" in key:
        return "has more than one line"
    if not key.isascii() or not key.decode("ascii").isprintable():
        return "has characters that are not printable ASCII"
    return None
