"""Ids of traces follow from what is known, and a sample is the same for all who ask."""

from __future__ import annotations

import re
import uuid

import pytest

from laneway.rules import traces

UID = "4be5c11d-23f0-4e3c-9e4c-0c3d8f6f6b1a"
TRACE = "4be5c11d23f04e3c9e4c0c3d8f6f6b1a"


def test_a_trace_is_found_by_the_uid_of_its_run() -> None:
    assert traces.trace_id(UID) == TRACE
    assert traces.trace_id(UID.upper()) == TRACE


@pytest.mark.parametrize("uid", ["hello-0123456789", "", f"{UID}0", "z" * 32])
def test_what_is_no_uid_makes_a_trace_id_all_the_same(uid: str) -> None:
    assert re.fullmatch(r"[0-9a-f]{32}", traces.trace_id(uid))
    assert traces.trace_id(uid) == traces.trace_id(uid)


def test_spans_of_a_run_have_ids_of_their_own_that_never_change() -> None:
    ids = [
        traces.run_span_id(UID),
        traces.attempt_span_id(UID, 1),
        traces.attempt_span_id(UID, 2),
        traces.call_span_id("a"),
        traces.call_span_id("b"),
    ]
    assert ids == ["1ab7699576168629", "9662f84ca04f0b1d", "b41e924291badb90", "06572559f8b8bf10", "a3b1e7b61612df0c"]


def test_what_is_done_before_the_first_attempt_belongs_to_the_run() -> None:
    assert traces.attempt_span_id(UID, 0) == traces.run_span_id(UID)


def test_an_agent_is_told_its_attempt_as_the_parent_of_its_spans() -> None:
    span = traces.attempt_span_id(UID, 3)
    assert traces.traceparent(UID, 3, 1.0) == f"00-{TRACE}-{span}-01"
    assert traces.traceparent(UID, 3, 0.0) == f"00-{TRACE}-{span}-00"


@pytest.mark.parametrize("ratio", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_a_sample_is_as_large_as_was_asked_for(ratio: float) -> None:
    """Uids as Kubernetes makes them: six of their bits are always the same, and must not count."""
    numbers = (uuid.UUID(int=number * 0x9E3779B97F4A7C15F39CC0605CEDC834 % 2**128, version=4) for number in range(4000))
    kept = sum(traces.is_sampled(traces.trace_id(str(number)), ratio) for number in numbers)
    assert kept / 4000 == pytest.approx(ratio, abs=0.03)
