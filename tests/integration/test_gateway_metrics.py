"""What a scrape shows of calls: their times and tokens, with labels that no client can make grow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from prometheus_client import REGISTRY

from unit.gateway.kit import gateway, lane_object, run_object

MODEL = "scraped"
"""A model of this test alone: metrics are those of the process."""
ANSWER = {"choices": [{"finish_reason": "stop"}], "usage": {"prompt_tokens": 120, "completion_tokens": 30}}
STATUSES = (200, 400, 500, 503, 429)
"""The last one makes the model rest."""


def samples(name: str) -> dict[tuple[tuple[str, str], ...], float]:
    """The samples of a metric about the test's model, by their other labels."""
    return {
        tuple(sorted((label, value) for label, value in sample.labels.items() if label != "model")): sample.value
        for family in REGISTRY.collect()
        for sample in family.samples
        if sample.name == name and sample.labels.get("model") == MODEL
    }


def where(**more: str) -> tuple[tuple[str, str], ...]:
    return tuple(sorted({"lane": "lane", "namespace": "agents", **more}.items()))


@pytest.mark.row("S1.17")
async def test_times_and_tokens_of_calls_are_shown_and_no_client_adds_a_label(tmp_path: Path) -> None:
    wanted = iter(STATUSES)

    async def answer(request: web.Request) -> web.StreamResponse:
        status = next(wanted)
        error: dict[str, Any] = {"error": {"message": "no", "type": "invented"}}
        return web.json_response(ANSWER if status == 200 else error, status=status)

    async with gateway(tmp_path, answer) as kit:
        kit.views.lanes.put(lane_object(kit.server_url, version=2, models=[{"name": MODEL}]))
        kit.views.runs.put(run_object(version=2, model=MODEL))
        for number, expected in enumerate(STATUSES):
            async with kit.post("/v1/chat/completions", {"model": f"invented-{number}", "messages": []}) as answered:
                assert answered.status == expected
    counts = samples("laneway_request_duration_seconds_count")
    assert counts == {
        where(status="2xx"): 1,
        where(status="4xx"): 1,
        where(status="5xx"): 2,
        where(status="429"): 1,
    }
    assert samples("laneway_tokens_total") == {where(token_type="input"): 120, where(token_type="output"): 30}
    assert not [
        sample for family in REGISTRY.collect() for sample in family.samples if "invented" in str(sample.labels)
    ]
