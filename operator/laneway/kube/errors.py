"""Errors of the Kubernetes API.

    KubeError                any answer or silence that is not success
     +- NotFound             404
     +- AlreadyExists        409 on create: the name is taken
     +- Conflict             409, 422 for a uid: the object has changed, or is another, since it was read
     +- Gone                 410: the version or page asked for is no longer kept; list anew
     +- Invalid              400, 413, 422: the API server refuses this object; the same again is refused again
     +- Forbidden            403: no permission, quota reached, Pod Security, namespace going away
     +- Unavailable          401, 429, 5xx, time-out, no connection: retry after a delay
     +- NotLeader            a write was not sent, because this process may no longer write

``error_of`` is the one place where answers become these errors; only client.py calls it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from laneway.kube.resources import JsonObject

_MESSAGE_LIMIT = 1024


class KubeError(Exception):
    """A request failed. ``message`` is the API server's sentence: it can quote values of the object that was sent."""

    def __init__(self, message: str, *, status: int | None = None, reason: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        """HTTP status; None when there was no answer."""
        self.reason = reason
        """The one-word reason of the API server's Status, such as ``AlreadyExists``; empty when it gave none."""


class NotFound(KubeError):  # noqa: N818 - the tree's names are the API's reasons
    """The object, its namespace or its resource does not exist."""


class AlreadyExists(KubeError):  # noqa: N818
    """The name is taken. Whether by an object of ours, only a read can tell."""


class Conflict(KubeError):  # noqa: N818
    """A precondition (resourceVersion or uid) did not hold, or the server lost a race; read again."""


class Gone(KubeError):  # noqa: N818
    """The resourceVersion of a watch or the token of a page has expired; list anew."""


class Invalid(KubeError):  # noqa: N818
    """The API server refuses the object itself."""


class Forbidden(KubeError):  # noqa: N818
    """Refused by authorization, quota, Pod Security or a namespace that is going away; ``message`` says which."""


class Unavailable(KubeError):  # noqa: N818
    """Retry after a delay. A write may have been done all the same, unless ``status`` is 401 or 429."""

    def __init__(
        self, message: str, *, status: int | None = None, reason: str = "", retry_after: float | None = None
    ) -> None:
        super().__init__(message, status=status, reason=reason)
        self.retry_after = retry_after
        """Seconds that the server asked for; None when it named none."""


class NotLeader(KubeError):  # noqa: N818
    """The write was not sent: this process may no longer write."""


_BY_STATUS: Mapping[int, type[KubeError]] = {
    400: Invalid,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    413: Invalid,
    422: Invalid,
}
_UNAUTHORIZED = 401
"""A token that was rotated away is read anew within a minute, so this is a matter of time, not of permission."""
_TOO_MANY = 429
_SERVER_FAULT = 500
_UNPROCESSABLE = 422


def error_of(*, status: int, body: bytes | JsonObject, retry_after: str | None = None) -> KubeError:
    """The error for an answer that is not a success; ``body`` is a Status object if the API server itself answered."""
    answer = _status_object(body)
    reason = str(answer.get("reason") or "")
    message = str(answer.get("message") or f"the API server answered {status}")[:_MESSAGE_LIMIT]
    if status in (_UNAUTHORIZED, _TOO_MANY) or status >= _SERVER_FAULT:
        return Unavailable(message, status=status, reason=reason, retry_after=_seconds(retry_after, answer))
    if reason == "AlreadyExists":
        return AlreadyExists(message, status=status, reason=reason)
    if status == _UNPROCESSABLE and _names_another_uid(answer):
        return Conflict(message, status=status, reason=reason)
    return _BY_STATUS.get(status, KubeError)(message, status=status, reason=reason)


def _status_object(body: bytes | JsonObject) -> JsonObject:
    if not isinstance(body, bytes):
        return body
    try:
        answer = json.loads(body)
    except ValueError:  # a proxy's page, or a cut answer
        return {}
    return answer if isinstance(answer, dict) else {}


def _names_another_uid(answer: JsonObject) -> bool:
    """A patch whose uid is another's is answered as a change of an immutable field, not as the conflict that it is."""
    details = answer.get("details")
    causes = details.get("causes") if isinstance(details, dict) else None
    return any(cause.get("field") == "metadata.uid" for cause in causes or [])


def _seconds(header: str | None, answer: JsonObject) -> float | None:
    """Seconds from the header, else from the Status; the API server sends whole seconds and never dates."""
    if header is not None and header.isascii() and header.isdigit():
        return float(header)
    details = answer.get("details")
    asked = details.get("retryAfterSeconds") if isinstance(details, dict) else None
    return float(asked) if isinstance(asked, int) and asked > 0 else None
