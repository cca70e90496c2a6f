"""Names of children: valid, short, and never shared by two runs or two attempts."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laneway.api.names import pod_name, prompt_name, workspace_name

DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
UID = "27d14272-80ff-4dcb-9484-27c1d60ad570"

run_names = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,50}[a-z0-9])?", fullmatch=True)


@pytest.mark.parametrize(
    ("run", "attempt", "expected"),
    [
        pytest.param("hello", 1, "hello-27d14272-1", id="a short name is kept"),
        pytest.param("a" * 52, 12, "a" * 40 + "-27d14272-12", id="a long name is cut to 40 characters"),
        pytest.param("a" * 39 + "-" + "b" * 12, 1, "a" * 39 + "-27d14272-1", id="a dash at the cut is dropped"),
    ],
)
def test_the_pod_of_an_attempt(run: str, attempt: int, expected: str) -> None:
    assert pod_name(run=run, uid=UID, attempt=attempt) == expected


@given(run=run_names, uid=st.uuids().map(str), attempt=st.integers(1, 1_000_000))
def test_every_child_has_a_valid_name_of_at_most_63_characters(run: str, uid: str, attempt: int) -> None:
    children = (
        pod_name(run=run, uid=uid, attempt=attempt),
        prompt_name(run=run, uid=uid),
        workspace_name(run=run, uid=uid),
    )
    for name in children:
        assert DNS_LABEL.fullmatch(name), name
        assert len(name) <= 63


def test_a_run_of_the_same_name_and_another_attempt_have_pods_of_their_own() -> None:
    other = "9" + UID[1:]
    names = {
        pod_name(run="hello", uid=UID, attempt=1),
        pod_name(run="hello", uid=UID, attempt=2),
        pod_name(run="hello", uid=other, attempt=1),
        prompt_name(run="hello", uid=UID),
        prompt_name(run="hello", uid=other),
        workspace_name(run="hello", uid=UID),
        workspace_name(run="hello", uid=other),
    }
    assert len(names) == 7


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        pytest.param("hello", "hello-27d14272", id="a short name is kept"),
        pytest.param("a" * 52, "a" * 40 + "-27d14272", id="a long name is cut to 40 characters"),
    ],
)
def test_the_workspace_has_no_attempt_in_its_name(run: str, expected: str) -> None:
    assert workspace_name(run=run, uid=UID) == expected
