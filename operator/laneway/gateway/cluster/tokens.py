"""Who calls: an attempt's token, checked offline, from an address of that attempt's pod."""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import TypeAlias

from laneway.gateway.cluster.objects import Run
from laneway.gateway.cluster.views import Views
from laneway.gateway.wire.base import Kind
from laneway.gateway.wire.refused import Refused
from laneway.rules.token import AttemptId, TokenKeys, key_id_of, verify

HOLD_SECONDS = 10.0
_CONFIRM_STEP_SECONDS = 2.0
_REREAD_STEP_SECONDS = 5.0
_HEADERS = ("x-api-key", "x-goog-api-key")
_GOOD_KEPT = 10_000

Confirm: TypeAlias = Callable[[AttemptId], Awaitable[bool]]
"""Reads an attempt's run and pod live into the views. False: the API server could not be asked."""


class KeyRing:
    """The token keys, read again when a token names one that is not known."""

    def __init__(
        self, read: Callable[[], Awaitable[TokenKeys | None]], *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """``read`` answers None when the Secret cannot be read now."""
        self._read = read
        self._monotonic = monotonic
        self._last_read: float | None = None
        self.keys: TokenKeys | None = None
        """None until the Secret was read once."""
        self._good: dict[str, AttemptId] = {}
        """Tokens that these keys have signed."""

    async def refresh(self) -> None:
        """Read the Secret, at most once in five seconds."""
        now = self._monotonic()
        if self._last_read is not None and now - self._last_read < _REREAD_STEP_SECONDS:
            return
        self._last_read = now
        self.keys = await self._read() or self.keys
        self._good.clear()

    async def verify(self, token: str) -> AttemptId | None:
        """The attempt that a token was made for; None if it is no token of ours."""
        if token in self._good:
            return self._good[token]
        key_id = key_id_of(token)
        if key_id is None:
            return None
        if self.keys is None or key_id not in self.keys.keys:
            await self.refresh()
        attempt = None if self.keys is None else verify(self.keys, token)
        if attempt is not None:
            if len(self._good) >= _GOOD_KEPT:
                self._good.clear()
            self._good[token] = attempt
        return attempt


@dataclass(frozen=True, slots=True)
class Caller:
    """An attempt that proved who it is."""

    attempt: AttemptId
    run: Run


class _Sight(StrEnum):
    """What the view says of a token whose signature is good."""

    GOOD = "Good"
    NOT_YET = "NotYet"
    BAD = "Bad"


class Authenticator:
    """Checks the token and the address of each call."""

    def __init__(
        self,
        *,
        keys: KeyRing,
        views: Views,
        confirm: Confirm,
        bind_pod_address: bool = True,
        hold_seconds: float = HOLD_SECONDS,
    ) -> None:
        self._keys = keys
        self._views = views
        self._confirm = confirm
        self._bind = bind_pod_address
        self._hold_seconds = hold_seconds

    async def identify(self, token: str | None) -> AttemptId:
        """The attempt whose token it is, by its signature alone. Raises Refused."""
        attempt = None if token is None else await self._keys.verify(token)
        if attempt is None:
            missing = "no token: send LANEWAY_TOKEN as the API key" if token is None else "the token is not valid"
            raise Refused(Kind.UNAUTHENTICATED, missing)
        return attempt

    async def admit(self, attempt: AttemptId, peer: str) -> Caller:
        """The caller, once the view shows its attempt at its address. Raises Refused.

        A pod may call before its address has reached our view, so a call is held; while it is, the API server is asked, so that
        afterwards we know whether the view was behind (503) or the token is of no use (401).
        """
        if self._see(attempt, peer) is _Sight.NOT_YET:
            confirmed = await self._hold(attempt, peer)
        else:
            confirmed = True
        run = self._views.run(attempt.run_uid)
        match self._see(attempt, peer):
            case _Sight.GOOD if run is not None:
                return Caller(attempt=attempt, run=run)
            case _Sight.NOT_YET if not confirmed:
                raise Refused(Kind.UNAVAILABLE, "the gateway does not see this attempt yet", retry_after_seconds=1)
            case _:
                raise Refused(
                    Kind.UNAUTHENTICATED, "the token is of no use here: another address, or an attempt that has ended"
                )

    async def _hold(self, attempt: AttemptId, peer: str) -> bool:
        """Wait until the view tells more, and ask the API server meanwhile. Answers whether it was reached."""
        confirmed = False
        try:
            async with asyncio.timeout(self._hold_seconds):
                while self._see(attempt, peer) is _Sight.NOT_YET:
                    confirmed = await self._confirm(attempt) or confirmed
                    if self._see(attempt, peer) is _Sight.NOT_YET:
                        await self._wait_a_little()
        except TimeoutError:
            pass
        return confirmed

    async def _wait_a_little(self) -> None:
        try:
            async with asyncio.timeout(_CONFIRM_STEP_SECONDS):
                await self._views.wait_for_change()
        except TimeoutError:
            pass

    def _see(self, attempt: AttemptId, peer: str) -> _Sight:
        run = self._views.run(attempt.run_uid)
        if run is None:
            return _Sight.BAD if self._views.is_gone(attempt.run_uid) else _Sight.NOT_YET
        if run.finished or run.attempt > attempt.attempt:
            return _Sight.BAD
        if run.attempt < attempt.attempt:
            return _Sight.NOT_YET
        return self._see_address(attempt, peer) if self._bind else _Sight.GOOD

    def _see_address(self, attempt: AttemptId, peer: str) -> _Sight:
        pods = self._views.pods_of(attempt)
        if any(peer in pod.addresses and not pod.ended for pod in pods):
            return _Sight.GOOD
        if any(pod.addresses or pod.ended for pod in pods) or self._views.pods_at(peer):
            return _Sight.BAD
        return _Sight.NOT_YET


def token_in(headers: Mapping[str, str], query_key: str | None) -> str | None:
    """The token of a request: a Bearer token, ``x-api-key``, ``x-goog-api-key`` or ``?key=``, in this order."""
    scheme, _, bearer = headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer" and bearer.strip():
        return bearer.strip()
    for name in _HEADERS:
        if headers.get(name):
            return headers[name].strip()
    return query_key or None


@lru_cache(maxsize=1024)
def plain_address(peer: str | None) -> str:
    """A peer's address as Kubernetes writes it: an IPv4 address that came in as IPv6 is IPv4."""
    if not peer:
        return ""
    try:
        address = ipaddress.ip_address(peer.partition("%")[0])
    except ValueError:
        return ""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)
