"""Attempt tokens: ``lw1.<key id>.<run uid>.<attempt>.<mac>``, made by the operator, checked offline by the gateway.

The mac is HMAC-SHA256 over all that stands before it, base64url without padding. Keys live in a Secret; its ``current`` entry names the one
that signs, and every other entry is still accepted, so that a key can be rotated under running pods.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass

PREFIX = "lw1"
KEY_BYTES = 32
_OPERATOR_PURPOSE = b"laneway-operator-port"


@dataclass(frozen=True)
class AttemptId:
    """Whose token it is: one attempt of one run."""

    run_uid: str
    attempt: int


@dataclass(frozen=True)
class TokenKeys:
    """The keys of the token Secret: ``current`` signs, all in ``keys`` are accepted."""

    current: str
    keys: Mapping[str, bytes]

    def __repr__(self) -> str:
        return f"TokenKeys(current={self.current!r}, ids={sorted(self.keys)})"


def new_secret_data(*, key_id: str, key: bytes) -> dict[str, str]:
    """The ``data`` of a fresh token Secret (values base64, as Kubernetes wants them)."""
    return {"current": _b64(key_id.encode()), key_id: _b64(key)}


def parse_secret_data(data: Mapping[str, str]) -> TokenKeys:
    """Read the token Secret. Raises ValueError when it is not one."""
    try:
        decoded = {name: base64.b64decode(value, validate=True) for name, value in data.items()}
    except binascii.Error as error:
        raise ValueError("a value of the token Secret is not base64") from error
    current = decoded.pop("current", b"").decode()
    if current not in decoded:
        raise ValueError("the token Secret must name one of its keys in 'current'")
    if any(len(key) < KEY_BYTES for key in decoded.values()):
        raise ValueError(f"a key of the token Secret is shorter than {KEY_BYTES} bytes")
    return TokenKeys(current=current, keys=decoded)


def sign(keys: TokenKeys, attempt: AttemptId) -> str:
    """The token of an attempt: the same bytes every time, so that a pod can be built again."""
    head = f"{PREFIX}.{keys.current}.{attempt.run_uid}.{attempt.attempt}"
    return f"{head}.{_mac(keys.keys[keys.current], head)}"


def verify(keys: TokenKeys, token: str) -> AttemptId | None:
    """The attempt that a token was made for; None if it was not made with one of the keys."""
    head, _, mac = token.rpartition(".")
    parts = head.split(".")
    if len(parts) != 4 or parts[0] != PREFIX or not token.isascii():  # noqa: PLR2004 - prefix, key id, uid, attempt
        return None
    _, key_id, uid, number = parts
    key = keys.keys.get(key_id)
    if key is None or not number.isascii() or not number.isdigit():
        return None
    if not hmac.compare_digest(mac.encode(), _mac(key, head).encode()):
        return None
    return AttemptId(run_uid=uid, attempt=int(number))


def key_id_of(token: str) -> str | None:
    """The key id that a token names, to see whether the Secret should be read again; None if it is no token of ours."""
    parts = token.split(".")
    return parts[1] if len(parts) == 5 and parts[0] == PREFIX else None  # noqa: PLR2004


def operator_secret(key: bytes) -> str:
    """What the operator shows at the gateway's operator port: derived, so that no agent token ever opens it."""
    return hmac.new(key, _OPERATOR_PURPOSE, hashlib.sha256).hexdigest()


def is_operator(keys: TokenKeys, shown: str) -> bool:
    """Whether a secret shown at the operator port was derived from one of the keys."""
    return shown.isascii() and any(
        hmac.compare_digest(shown.encode(), operator_secret(key).encode()) for key in keys.keys.values()
    )


def _mac(key: bytes, head: str) -> str:
    return base64.urlsafe_b64encode(hmac.new(key, head.encode(), hashlib.sha256).digest()).rstrip(b"=").decode()


def _b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
