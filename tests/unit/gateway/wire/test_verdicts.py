"""Refusals of real servers (refusals/: status, headers, body as they came) and what each means."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from laneway.api.reasons import Cause
from laneway.gateway.wire.base import read_error
from laneway.rules.classify import Signals, Verdict, judge

REFUSALS = Path(__file__).parent / "refusals"
NOW = datetime(2026, 11, 21, tzinfo=UTC)

EXPECTED = {
    "bad_json": Cause.TASK_FAILURE,
    "busy": Cause.API_TRANSIENT,
    "count_tokens": Cause.WIRE_API_UNSUPPORTED,
    "max_tokens_too_big": Cause.TASK_FAILURE,
    "missing_field": Cause.TASK_FAILURE,
    "no_messages": Cause.TASK_FAILURE,
    "too_long": Cause.CONTEXT_TOO_LONG,
    "too_long-truncate_false": Cause.CONTEXT_TOO_LONG,
    "tools_any": Cause.TASK_FAILURE,
    "tools_auto_not_enabled": Cause.TASK_FAILURE,
    "tools_unsupported": Cause.TASK_FAILURE,
    "unauthorized": Cause.AUTH_FAILED,
    "unknown_model": Cause.MODEL_NOT_FOUND,
    "unknown_path": Cause.WIRE_API_UNSUPPORTED,
    "wrong_method": Cause.WIRE_API_UNSUPPORTED,
    "x_api_key": Cause.AUTH_FAILED,
}
"""By the last part of a file's name: what the server was asked."""


def verdict_on(file: Path) -> Verdict:
    head, _, body = file.read_bytes().partition(b"\n\n")
    first, *lines = head.decode().split("\n")
    headers = {name: value for name, _, value in (line.partition(": ") for line in lines)}
    return judge(Signals(status=int(first.split()[1]), error=read_error(body), headers=headers), now=NOW)


def asked(file: Path) -> str:
    server, _, rest = file.stem.partition("-")
    return rest if rest == "unknown_path" and server else rest.partition("-")[2]


@pytest.mark.row("C1", "C2", "S1.6", "S2.33", "S2.34", "S2.35")
@pytest.mark.parametrize("file", sorted(REFUSALS.glob("*.txt")), ids=lambda file: file.stem)
def test_a_refusal_of_a_real_server_means(file: Path) -> None:
    verdict = verdict_on(file)
    assert verdict.cause is EXPECTED[asked(file)]
    assert verdict.reset_time is None  # neither server names a time


def test_every_kind_of_refusal_has_a_sample() -> None:
    assert {asked(file) for file in REFUSALS.glob("*.txt")} == EXPECTED.keys()
