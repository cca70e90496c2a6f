"""A request body keeps its bytes where nothing is replaced."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from laneway.gateway.wire.jsontext import JsonText, NotAnObject

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param('{"model":"a"}', '{"model":"m"}', id="the name is replaced"),
        pytest.param(
            '{ "x" : 1.50 , "model" :\n"a" }',
            '{ "x" : 1.50 , "model" :\n"m" }',
            id="spaces and numbers keep their bytes",
        ),
        pytest.param('{"t":"\\u00e9é","model":"a"}', '{"t":"\\u00e9é","model":"m"}', id="escapes keep their bytes"),
        pytest.param('{"x":1}', '{"x":1,"model":"m"}', id="a body without a model gets one"),
        pytest.param("{}", '{"model":"m"}', id="an empty object gets one"),
        pytest.param(
            '{"model":"a","model":"b"}', '{"model":"m","model":"m"}', id="every one of a doubled key is replaced"
        ),
        pytest.param(
            '{"model":"a","Model":"b"}', '{"model":"m","Model":"m"}', id="a key that Go reads as the same is replaced"
        ),
        pytest.param(
            '{"a":{"model":"x"},"model":"a"}', '{"a":{"model":"x"},"model":"m"}', id="only the top level counts"
        ),
        pytest.param('{"model":{"deep":[1]}}', '{"model":"m"}', id="a model that is no string is replaced"),
    ],
)
def test_replacing_the_model(before: str, after: str) -> None:
    text = JsonText(before.encode())
    text.put("model", "m")
    assert text.render().decode() == after


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"[1]", id="a list"),
        pytest.param(b'"text"', id="a string"),
        pytest.param(b'{"a":1', id="cut short"),
        pytest.param(b'{"a":1,}', id="a comma too many"),
        pytest.param(b'{"a" 1}', id="no colon"),
        pytest.param(b"{1:2}", id="a key that is no string"),
        pytest.param(b'{"a":1} {"b":2}', id="two objects"),
        pytest.param(b'{"a":"\xff"}', id="not UTF-8"),
        pytest.param(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", id="nested too deeply"),
        pytest.param(b'{"a":' + b"9" * 5000 + b"}", id="a number that Python does not read"),
    ],
)
def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(NotAnObject):
        JsonText(body)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param('{"a":1,"usage":null,"b":2}', '{"a":1,"b":2}', id="in the middle"),
        pytest.param('{"usage":null,"b":2}', '{"b":2}', id="at the start"),
        pytest.param('{"a":1, "usage": null}', '{"a":1}', id="at the end"),
        pytest.param('{"usage":null}', "{}", id="alone"),
    ],
)
def test_a_member_is_left_out_with_its_comma(before: str, after: str) -> None:
    text = JsonText(before.encode())
    text.remove(text.named("usage")[0])
    assert text.render().decode() == after


@given(st.dictionaries(st.text(), VALUES, max_size=6), st.booleans(), st.sampled_from([None, 2]))
def test_any_object_stays_what_it_is_but_for_its_model(
    body: dict[str, object], ascii_only: bool, indent: int | None
) -> None:
    body = {key: value for key, value in body.items() if key.casefold() != "model"} | {"model": "a"}
    text = (
        JsonText(json.dumps(body, ensure_ascii=ascii_only, indent=indent).encode("utf-8", "surrogatepass"))
        if ascii_only
        else JsonText(json.dumps(body, indent=indent).encode())
    )
    text.put("model", "m")
    assert json.loads(text.render()) == body | {"model": "m"}
