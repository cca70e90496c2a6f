"""Which answer of the API server becomes which error."""

from __future__ import annotations

import json
from typing import Any

import pytest

from laneway.kube.errors import (
    AlreadyExists,
    Conflict,
    Forbidden,
    Gone,
    Invalid,
    KubeError,
    NotFound,
    Unavailable,
    error_of,
)


def answer(reason: str, **more: Any) -> bytes:
    return json.dumps({"kind": "Status", "reason": reason, "message": "said so", **more}).encode()


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        pytest.param(404, answer("NotFound"), NotFound, id="an object that is not there"),
        pytest.param(409, answer("AlreadyExists"), AlreadyExists, id="a name that is taken"),
        pytest.param(409, answer("Conflict"), Conflict, id="a version that is stale"),
        pytest.param(410, answer("Expired"), Gone, id="a version that is no longer kept"),
        pytest.param(410, answer("Gone"), Gone, id="a page that is no longer kept"),
        pytest.param(422, answer("Invalid"), Invalid, id="an object that a rule refuses"),
        pytest.param(
            422,
            answer("Invalid", details={"causes": [{"field": "metadata.uid", "reason": "FieldValueInvalid"}]}),
            Conflict,
            id="a patch meant for another uid",
        ),
        pytest.param(400, answer("BadRequest"), Invalid, id="an object that does not decode"),
        pytest.param(413, b"too large", Invalid, id="an object that is too large"),
        pytest.param(403, answer("Forbidden"), Forbidden, id="a quota that is full"),
        pytest.param(401, answer("Unauthorized"), Unavailable, id="a token that was just rotated"),
        pytest.param(429, answer("TooManyRequests"), Unavailable, id="too many requests"),
        pytest.param(500, answer("InternalError"), Unavailable, id="a fault of the server"),
        pytest.param(504, answer("Timeout"), Unavailable, id="a server that took too long"),
        pytest.param(503, b"<html>", Unavailable, id="a page of a proxy"),
        pytest.param(418, b"[]", KubeError, id="an answer that nobody expects"),
    ],
)
def test_an_answer_becomes_its_error(status: int, body: bytes, expected: type[KubeError]) -> None:
    error = error_of(status=status, body=body)
    assert type(error) is expected
    assert error.status == status


@pytest.mark.parametrize(
    ("header", "details", "seconds"),
    [
        pytest.param("3", {}, 3.0, id="the header"),
        pytest.param("3", {"retryAfterSeconds": 9}, 3.0, id="the header before the body"),
        pytest.param(None, {"retryAfterSeconds": 9}, 9.0, id="the body, when there is no header"),
        pytest.param(None, {}, None, id="unknown, when neither says it"),
        pytest.param("soon", {}, None, id="unknown, when the header is no number"),
        pytest.param(None, {"retryAfterSeconds": 0}, None, id="unknown, when the body says zero"),
    ],
)
def test_the_time_to_wait_is_taken_from(header: str | None, details: dict[str, int], seconds: float | None) -> None:
    error = error_of(status=429, body=answer("TooManyRequests", details=details), retry_after=header)
    assert isinstance(error, Unavailable)
    assert error.retry_after == seconds


def test_a_refusal_keeps_the_servers_words_and_reason() -> None:
    error = error_of(status=403, body=answer("Forbidden"))
    assert (error.message, error.reason, str(error)) == ("said so", "Forbidden", "said so")


def test_a_message_is_cut_so_that_no_object_is_quoted_whole() -> None:
    assert len(error_of(status=422, body=answer("Invalid", message="x" * 100_000)).message) == 1024
