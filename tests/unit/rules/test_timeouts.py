"""The time limits of a call: what a lane says, what suits its server, and how they stand to each other."""

from __future__ import annotations

import pytest

from laneway.api.endpoint import Server
from laneway.api.lanecalls import LaneTimeouts
from laneway.rules.timeouts import effective


@pytest.mark.row("C18", "S1.8", "S2.15", "S2.16", "S2.17", "S2.19")
@pytest.mark.parametrize(
    ("server", "said", "request_limit", "answer_limit", "call_limit"),
    [
        pytest.param(Server.VLLM, {}, 1800, 1800, 1860, id="vLLM loads models"),
        pytest.param(Server.OLLAMA, {}, 1800, 1800, 1860, id="Ollama loads models"),
        pytest.param(Server.OPENAI, {}, 30, 600, 660, id="a hosted API answers soon"),
        pytest.param(Server.OTHER, {}, 30, 600, 660, id="an unknown server is taken for a hosted one"),
        pytest.param(Server.OLLAMA, {"requestSeconds": 5, "answerSeconds": 7}, 5, 7, 67, id="what the lane says wins"),
        pytest.param(
            Server.OPENAI,
            {"requestSeconds": 900},
            900,
            600,
            960,
            id="the limit of all tries is over the longer of the two",
        ),
        pytest.param(Server.OPENAI, {"callSeconds": 300}, 30, 600, 300, id="all tries have a limit of their own"),
        pytest.param(Server.OPENAI, {"callSeconds": 0}, 30, 600, None, id="0 is no limit for all tries"),
        pytest.param(Server.OPENAI, {"requestSeconds": 0}, None, 600, None, id="0 is no limit for a request"),
        pytest.param(Server.OPENAI, {"answerSeconds": 0}, 30, None, None, id="0 is no limit for an answer"),
    ],
)
def test_limits(
    server: Server, said: dict[str, int], request_limit: int | None, answer_limit: int | None, call_limit: int | None
) -> None:
    found = effective(server, LaneTimeouts.model_validate(said))
    assert (found.request_seconds, found.answer_seconds, found.call_seconds) == (
        request_limit,
        answer_limit,
        call_limit,
    )


def test_silence_and_holding_are_as_the_lane_says() -> None:
    found = effective(Server.OPENAI, LaneTimeouts())
    assert (found.stream_idle_seconds, found.hold_seconds) == (1200, 60)
    found = effective(Server.OPENAI, LaneTimeouts(stream_idle_seconds=0, hold_seconds=0))
    assert (found.stream_idle_seconds, found.hold_seconds) == (None, 0)
