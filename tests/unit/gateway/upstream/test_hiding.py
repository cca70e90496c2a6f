"""A key in a stream is hidden wherever the stream is cut, and nothing else is changed or delayed."""

from __future__ import annotations

import pytest

from laneway.gateway.upstream.hiding import KeyHider

KEY = "sk-sks-1"


def shown(key: str | None, *chunks: bytes) -> list[bytes]:
    hider = KeyHider(key)
    return [*(hider.feed(chunk) for chunk in chunks), hider.close()]


@pytest.mark.parametrize("cut", range(len(KEY) + 8))
def test_a_key_is_hidden_wherever_it_is_cut(cut: int) -> None:
    stream = f"abc {KEY} def".encode()
    assert b"".join(shown(KEY, stream[:cut], stream[cut:])) == b"abc [key] def"


def test_a_key_that_comes_byte_by_byte_is_hidden_each_time() -> None:
    stream = f"{KEY}{KEY} sk-s{KEY}".encode()
    assert b"".join(shown(KEY, *(bytes([one]) for one in stream))) == b"[key][key] sk-s[key]"


@pytest.mark.parametrize(
    ("key", "chunks", "expected"),
    [
        pytest.param(KEY, [b"data: sk-\n\n", b"x\n\n"], [b"data: sk-\n\n", b"x\n\n", b""], id="a whole event at once"),
        pytest.param(KEY, [b"risk", b" it"], [b"ri", b"sk it", b""], id="what may be its beginning with what follows"),
        pytest.param(KEY, [b"sk-sk"], [b"", b"sk-sk"], id="what was its beginning only, at the end"),
        pytest.param(None, [b"sk-sk"], [b"sk-sk", b""], id="everything of a lane without a key"),
    ],
)
def test_what_is_no_key_passes(key: str | None, chunks: list[bytes], expected: list[bytes]) -> None:
    assert shown(key, *chunks) == expected
