"""Whatever an agent writes, its run ends, with a status that the API server takes: a refused status would be tried again for good."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from laneway.agent.envelope import parse
from laneway.api.modellane import Access
from laneway.api.runstatus import SUMMARY_LIMIT, AgentRunStatus
from laneway.controller.decide_run import decide_run
from support.builders import admitted, at, ended, lane, run, run_view

STARTED = admitted(pod="hello-hello-01-1", pod_uid="pod-uid", start_time=at(2), access=Access.DIRECT)
PRICES = {"inputUSDPerMillion": "999999", "outputUSDPerMillion": "999999"}
PRICED = lane(spec={"access": "Direct", "models": [{"name": "smollm2", "pricing": PRICES}]})

COUNTS = st.integers(min_value=-1) | st.sampled_from([10**12, 10**18, 10**30, True, None, 1.5])
TEXTS = st.text(st.characters(), max_size=30) | st.sampled_from(["x" * 9000, "é" * 5000, "\ud83d", "\x00", "429"])
STATUSES = st.sampled_from([0, 99, 200, 429, 529, 600, 10**9, None, "529"])
USAGE = st.fixed_dictionaries(
    dict.fromkeys(("input_tokens", "output_tokens", "cache_read_input_tokens", "cached_input_tokens"), COUNTS)
)
BY_MODEL = st.dictionaries(TEXTS, st.fixed_dictionaries({"inputTokens": COUNTS, "outputTokens": COUNTS}), max_size=20)
RESULTS = st.fixed_dictionaries(
    {"type": st.just("result")},
    optional={
        "is_error": st.booleans(),
        "subtype": TEXTS,
        "api_error_status": STATUSES,
        "result": TEXTS,
        "total_cost_usd": COUNTS | st.sampled_from([0.08, 1e300]),
        "num_turns": COUNTS,
        "usage": USAGE,
        "modelUsage": BY_MODEL,
        "error": st.fixed_dictionaries({"code": STATUSES, "type": TEXTS, "message": TEXTS}),
    },
)
MESSAGES = st.fixed_dictionaries(
    {
        "type": st.just("assistant"),
        "message": st.fixed_dictionaries({"content": st.just([]), "stop_reason": TEXTS, "usage": USAGE, "id": TEXTS}),
    }
)
LIMITS = st.fixed_dictionaries(
    {
        "type": st.just("rate_limit_event"),
        "rate_limit_info": st.fixed_dictionaries(
            {"status": st.just("rejected"), "rateLimitType": st.just("five_hour"), "resetsAt": COUNTS}
        ),
    }
)
TURNS = st.fixed_dictionaries(
    {"type": st.sampled_from(["turn.completed", "turn.failed"]), "usage": USAGE},
    optional={"error": st.fixed_dictionaries({"message": TEXTS})},
)


@pytest.mark.row("S3.7", "B6")
@given(
    st.lists(RESULTS | MESSAGES | LIMITS, max_size=6) | st.lists(TURNS, min_size=1, max_size=3),
    st.sampled_from([0, 1, 137]),
)
@example([{"type": "result", "is_error": False, "usage": {"input_tokens": 10**12, "output_tokens": 10**12}}] * 2, 0)
@example([{"type": "rate_limit_event", "rate_limit_info": {"status": "rejected", "rateLimitType": "five_hour"}}], 1)
def test_no_log_makes_a_status_that_the_api_server_refuses(lines: list[dict[str, Any]], code: int) -> None:
    envelope = parse("".join(json.dumps(line) + "\n" for line in lines))
    view = run_view(run(status=STARTED), lane=PRICED, pods=(ended(code),), envelope=envelope, log_blank=not lines)
    wire = decide_run(view, at(30)).status.to_wire()
    json.dumps(wire, ensure_ascii=False).encode()
    again = AgentRunStatus.model_validate(wire)
    assert again.attempts[-1].outcome is not None
    summary = again.result.summary if again.result else None
    assert len((summary or "").encode()) <= SUMMARY_LIMIT
