"""Attempt tokens: what was signed is accepted, and nothing else."""

from __future__ import annotations

import base64
from collections.abc import Mapping

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from laneway.rules.token import (
    AttemptId,
    TokenKeys,
    is_operator,
    key_id_of,
    new_secret_data,
    operator_secret,
    parse_secret_data,
    sign,
    verify,
)

OLD, NEW = b"o" * 32, b"n" * 32
KEYS = TokenKeys(current="k1", keys={"k1": OLD})
ATTEMPT = AttemptId("0d4f7c1e-2f5f-4b53-9f0e-6f2a4e1b7c3d", 3)
TOKEN = sign(KEYS, ATTEMPT)

attempts = st.builds(AttemptId, st.uuids().map(str), st.integers(min_value=1, max_value=1_000_000))


@given(attempts, st.binary(min_size=32, max_size=64))
def test_a_token_is_its_attempts_and_the_same_every_time(attempt: AttemptId, key: bytes) -> None:
    keys = TokenKeys(current="k", keys={"k": key})
    assert verify(keys, sign(keys, attempt)) == attempt
    assert sign(keys, attempt) == sign(keys, attempt)


@pytest.mark.parametrize("strange", ["\u00e9", "\udcff", "\x00", " "])
def test_a_character_that_no_token_has_is_refused_wherever_it_stands(strange: str) -> None:
    for place in range(len(TOKEN) + 1):
        assert verify(KEYS, TOKEN[:place] + strange + TOKEN[place:]) is None
    assert not is_operator(KEYS, strange)


@given(st.integers(min_value=0, max_value=len(TOKEN) - 1), st.characters(min_codepoint=1))
def test_a_token_with_any_character_changed_is_refused(place: int, other: str) -> None:
    changed = TOKEN[:place] + other + TOKEN[place + 1 :]
    assume(changed != TOKEN)
    assert verify(KEYS, changed) is None


@given(st.text(max_size=200))
def test_no_text_is_mistaken_for_a_token(text: str) -> None:
    assert verify(KEYS, text) is None


@given(attempts, attempts)
def test_tokens_of_two_attempts_differ(one: AttemptId, other: AttemptId) -> None:
    assert (sign(KEYS, one) == sign(KEYS, other)) == (one == other)


def test_during_a_rotation_both_keys_are_accepted_and_the_new_one_signs() -> None:
    both = TokenKeys(current="k2", keys={"k1": OLD, "k2": NEW})
    assert verify(both, TOKEN) == ATTEMPT
    assert key_id_of(sign(both, ATTEMPT)) == "k2"


def test_after_a_rotation_the_old_key_is_refused() -> None:
    assert verify(TokenKeys(current="k2", keys={"k2": NEW}), TOKEN) is None


def test_a_key_of_the_same_id_but_other_bytes_is_refused() -> None:
    assert verify(TokenKeys(current="k1", keys={"k1": NEW}), TOKEN) is None


def test_a_fresh_secret_is_read_back() -> None:
    assert parse_secret_data(new_secret_data(key_id="k1", key=OLD)) == KEYS


def b64(**values: bytes) -> dict[str, str]:
    return {name: base64.b64encode(value).decode() for name, value in values.items()}


@pytest.mark.parametrize(
    ("data", "why"),
    [
        pytest.param({}, "must name one of its keys", id="an empty Secret"),
        pytest.param(b64(k1=OLD), "must name one of its keys", id="no current key"),
        pytest.param(b64(current=b"k2", k1=OLD), "must name one of its keys", id="a current key that is not there"),
        pytest.param(b64(current=b"k1", k1=b"short"), "shorter than 32 bytes", id="a short key"),
        pytest.param({"current": "k1!"}, "not base64", id="values that are not base64"),
    ],
)
def test_a_secret_that_is_no_token_secret_is_refused(data: Mapping[str, str], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_secret_data(data)


def test_the_operators_secret_is_told_from_agents_tokens() -> None:
    assert is_operator(KEYS, operator_secret(OLD))
    assert is_operator(TokenKeys(current="k2", keys={"k1": OLD, "k2": NEW}), operator_secret(OLD))
    assert not is_operator(KEYS, operator_secret(NEW))
    assert not is_operator(KEYS, TOKEN)


def test_a_token_names_its_key_and_other_text_names_none() -> None:
    assert key_id_of(TOKEN) == "k1"
    assert key_id_of("sk-1234") is None


def test_keys_do_not_show_when_printed() -> None:
    assert "ooo" not in repr(KEYS)
