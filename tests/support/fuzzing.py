"""How hard fuzz tests try, and the odd things that they try."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

FACTOR = int(os.environ.get("FUZZ_FACTOR", "1"))
"""``make test`` tries each a few hundred times, the same ones each time; ``make fuzz`` so many times more, by chance."""

_Test = TypeVar("_Test", bound=Callable[..., Any])


def fuzz(examples: int) -> Callable[[_Test], _Test]:
    """A property that is tried so many times, and FACTOR times as often by ``make fuzz``."""
    return settings(
        max_examples=examples * FACTOR,
        deadline=None,
        derandomize=FACTOR == 1,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


ODD_NUMBERS = st.sampled_from(
    [0, -1, 1, 2**31, 2**63 - 1, 2**63, 10**25, -(10**25), 10**400, 0.5, -0.0, 1e308, float("inf"), float("nan")]
)
ODD_TEXTS = st.sampled_from(
    ["", "\ud800", "\udfff\ud800", "\x00", "\r\nX: y", "\u212a", "é" * 9, "😀", "[DONE]", "9" * 4301]
)
WORDS = st.sampled_from(
    [
        *("model", "MODEL", "stream", "stream_options", "include_usage", "n", "max_tokens", "max_completion_tokens"),
        *("options", "num_predict", "generationConfig", "generation_config", "maxOutputTokens", "candidateCount"),
        *("usage", "usageMetadata", "prompt_tokens", "completion_tokens", "input_tokens", "output_tokens", "message"),
        *("cache_read_input_tokens", "prompt_tokens_details", "cached_tokens", "promptTokenCount", "eval_count"),
        *("prompt_eval_count", "done", "done_reason", "type", "delta", "choices", "finish_reason", "candidates"),
        *("finishReason", "promptFeedback", "blockReason", "response", "error", "code", "status", "details", "@type"),
        *("retryDelay", "retry_after", "resets_at", "resets_in_seconds", "generateContentRequest", "stop_reason"),
        *("message_start", "message_delta", "message_stop", "response.completed", "response.failed", "incomplete"),
        *("type.googleapis.com/google.rpc.RetryInfo", "rate_limit_error", "overloaded_error", "insufficient_quota"),
    ]
)
TEXTS = WORDS | ODD_TEXTS | st.text(st.characters(exclude_categories=()), max_size=20)
"""Lone surrogates too: JSON can spell them."""
LEAVES = st.none() | st.booleans() | ODD_NUMBERS | TEXTS
SMALL = LEAVES | st.lists(LEAVES, max_size=2) | st.dictionaries(WORDS, LEAVES, max_size=2)
JSONS = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3), max_leaves=6
)


def shaped(**members: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """An object with some of these members, each as it should be or, now and then, anything else."""
    return _shape({name.replace("AT", "@"): values for name, values in members.items()})


@st.composite
def _shape(draw: st.DrawFn, members: dict[str, st.SearchStrategy[Any]]) -> Any:
    odd = st.sampled_from([False] * 9 + [True])
    if draw(odd):
        return draw(SMALL)
    names = draw(st.lists(st.sampled_from(sorted(members)), min_size=1, max_size=5, unique=True))
    return {name: draw(SMALL if draw(odd) else members[name]) for name in names}


COUNTS = st.integers(0, 9_000_000_000_000_000) | ODD_NUMBERS
_DETAILS = shaped(cached_tokens=COUNTS, cache_write_tokens=COUNTS)
USAGE = shaped(
    prompt_tokens=COUNTS,
    completion_tokens=COUNTS,
    input_tokens=COUNTS,
    output_tokens=COUNTS,
    prompt_tokens_details=_DETAILS,
    input_tokens_details=_DETAILS,
    cache_read_input_tokens=COUNTS,
    cache_creation_input_tokens=COUNTS,
    promptTokenCount=COUNTS,
    candidatesTokenCount=COUNTS,
    thoughtsTokenCount=COUNTS,
    cachedContentTokenCount=COUNTS,
)
ERROR = shaped(
    message=TEXTS,
    type=WORDS,
    code=WORDS | ODD_NUMBERS,
    status=WORDS,
    retry_after=ODD_NUMBERS,
    resets_at=ODD_NUMBERS,
    resets_in_seconds=ODD_NUMBERS,
    details=st.lists(shaped(ATtype=WORDS, retryDelay=TEXTS, violations=st.lists(shaped(quotaId=TEXTS))), max_size=2),
)
_RESPONSE = shaped(usage=USAGE, status=WORDS, error=ERROR, incomplete_details=shaped(reason=TEXTS))
ANSWERS = shaped(
    type=WORDS,
    usage=USAGE,
    usageMetadata=USAGE,
    error=ERROR,
    detail=ERROR,
    choices=st.lists(shaped(finish_reason=TEXTS, delta=SMALL), max_size=2),
    candidates=st.lists(shaped(finishReason=TEXTS), max_size=2),
    promptFeedback=shaped(blockReason=TEXTS),
    message=shaped(usage=USAGE, stop_reason=TEXTS),
    delta=shaped(stop_reason=TEXTS),
    stop_reason=TEXTS,
    response=_RESPONSE,
    status=WORDS,
    incomplete_details=shaped(reason=TEXTS),
    done=st.booleans(),
    done_reason=TEXTS,
    prompt_eval_count=COUNTS,
    eval_count=COUNTS,
)
"""What model servers answer, mixed: each wire API finds its own in it."""
_OPTIONS = shaped(
    num_predict=ODD_NUMBERS, maxOutputTokens=ODD_NUMBERS, max_output_tokens=ODD_NUMBERS, candidateCount=ODD_NUMBERS
)
REQUESTS = shaped(
    model=TEXTS,
    MODEL=TEXTS,
    stream=st.booleans(),
    stream_options=shaped(include_usage=st.booleans(), other=TEXTS),
    n=ODD_NUMBERS,
    max_tokens=ODD_NUMBERS,
    max_completion_tokens=ODD_NUMBERS,
    max_output_tokens=ODD_NUMBERS,
    options=_OPTIONS,
    generationConfig=_OPTIONS,
    generation_config=_OPTIONS,
    generateContentRequest=shaped(model=TEXTS, generationConfig=_OPTIONS),
    messages=st.lists(SMALL, max_size=2),
)


def dump(value: object, *, ascii_only: bool = True) -> bytes:
    """JSON as Python writes it: NaN and lone surrogates included; those only as escapes."""
    return json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "replace")


def spoilt(values: st.SearchStrategy[Any]) -> st.SearchStrategy[bytes]:
    """JSON of these values, mostly whole; else cut, with junk inside, doubled, or no JSON at all."""
    raw = values.map(dump) | st.builds(lambda value: dump(value, ascii_only=False), values)
    return st.one_of(
        *[raw] * 5,
        st.builds(lambda body, cut: body[:cut], raw, st.integers(0, 200)),
        st.builds(lambda body, at, junk: body[:at] + junk + body[at:], raw, st.integers(0, 99), st.binary(max_size=4)),
        st.builds(lambda one, other: one[:-1] + b"," + other[1:], raw, raw),
        st.binary(max_size=60),
    )


EVENT_ENDS = st.sampled_from([b"\n\n", b"\r\n\r\n", b"\r\r", b"\n\r\n", b"\n", b"\r", b""])
EVENTS = st.builds(
    lambda name, body, end: name + b"data: " + body + end,
    st.sampled_from([b"", b"event: error\n", b"event: ping\n", b": keep-alive\n", b"id: 1\r\n", b"\xef\xbb\xbf"]),
    spoilt(ANSWERS),
    EVENT_ENDS,
)
STREAMS = st.lists(
    EVENTS | st.builds(lambda body: body + b"\n", spoilt(ANSWERS)) | st.just(b"data: [DONE]\n\n"), max_size=4
).map(b"".join)
