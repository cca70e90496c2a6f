"""Answers of real servers (samples/), and how to feed them to a reader in pieces."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from laneway.gateway.wire.base import Prepared, Reader, Reading

SAMPLES = Path(__file__).parent / "samples"
ASKED = Prepared(body=b"", streamed=True, asked_usage=True)
PLAIN = Prepared(body=b"", streamed=True)

CUTS = pytest.mark.parametrize(
    "seed",
    [
        pytest.param(0, id="at once"),
        pytest.param(1, id="byte by byte"),
        *(pytest.param(n, id=f"odd chunks {n}") for n in range(2, 7)),
    ],
)


def sample(name: str) -> bytes:
    """The body of an answer. The stream of vLLM's responses is its first and its last event; all others are whole."""
    return (SAMPLES / f"{name}.txt").read_bytes()


def cut(data: bytes, seed: int) -> list[bytes]:
    """All at once, byte by byte, or in chunks of chance."""
    if seed < 2:
        return [data] if seed == 0 else [data[i : i + 1] for i in range(len(data))]
    chance, parts = random.Random(seed), []
    while data:
        size = chance.randint(1, 90)
        parts.append(data[:size])
        data = data[size:]
    return parts


def feed(reader: Reader, parts: list[bytes]) -> tuple[bytes, Reading]:
    """What the client gets, and what was read."""
    out = b"".join([*(reader.feed(part) for part in parts), reader.close()])
    return out, reader.reading


def events(*parts: object, end: str = "\n\n") -> bytes:
    """Server-sent events of these values."""
    return "".join(f"data: {json.dumps(part)}{end}" for part in parts).encode()


# Gemini's API has no server that runs here, so its answers are written after its documentation.

GEMINI_PARTS: list[dict[str, object]] = [
    {
        "candidates": [{"content": {"parts": [{"text": "The capital"}], "role": "model"}, "index": 0}],
        "usageMetadata": {"promptTokenCount": 12, "totalTokenCount": 12},
        "modelVersion": "gemini-2.5-flash",
    },
    {
        "candidates": [{"content": {"parts": [{"text": " is Paris."}], "role": "model"}, "finishReason": "STOP"}],
        "usageMetadata": {
            "promptTokenCount": 12,
            "cachedContentTokenCount": 4,
            "candidatesTokenCount": 7,
            "thoughtsTokenCount": 20,
            "toolUsePromptTokenCount": 3,
            "totalTokenCount": 42,
        },
        "modelVersion": "gemini-2.5-flash",
    },
]
GEMINI_EVENTS = events(*GEMINI_PARTS, end="\r\n\r\n")
GEMINI_LIST = ("[" + "\n,\r\n".join(json.dumps(part, indent=2) for part in GEMINI_PARTS) + "\n]\n").encode()
GEMINI_WHOLE = json.dumps(GEMINI_PARTS[1]).encode()
