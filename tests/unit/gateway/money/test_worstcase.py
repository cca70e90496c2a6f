"""What a request may cost at most, and the request once it is bounded."""

from __future__ import annotations

import json
from typing import Any

import pytest

from laneway.api.endpoint import Server, WireAPI
from laneway.gateway.cluster.objects import Lane
from laneway.gateway.cluster.target import Target
from laneway.gateway.cluster.tokens import Caller
from laneway.gateway.cluster.views import Views
from laneway.gateway.money.worstcase import bounded, demand_of
from laneway.gateway.wire.base import Wire
from laneway.gateway.wire.chat_completions import ChatCompletions
from laneway.gateway.wire.embeddings import Embeddings
from unit.gateway.kit import lane_object
from unit.gateway.purses import ATTEMPT, PRICES, limited, purse_of

CHAT, EMBEDDINGS = ChatCompletions(), Embeddings()


def lane(**model: Any) -> Lane:
    views = Views()
    views.lanes.put(lane_object("http://vllm:8000", models=[{"name": "m", **model}]))
    found = views.lanes.get(("agents", "lane"))
    assert found is not None
    return found


def target(**model: Any) -> Target:
    return Target(lane=lane(**model), api=WireAPI.CHAT_COMPLETIONS, model="m", prices=PRICES)


def demand(body: dict[str, Any], *, wire: Wire = CHAT, limits: dict[str, Any] | None = None, **model: Any) -> Any:
    prepared = wire.prepare(json.dumps(body).encode(), model="m", server=Server.VLLM)
    caller = Caller(attempt=ATTEMPT, run=limited(limits or {"tokens": 1000}))
    return demand_of(caller=caller, target=target(**model), prepared=prepared, wire=wire, hold_seconds=5), prepared


@pytest.mark.parametrize(
    ("body", "wire", "model", "expected"),
    [
        pytest.param({"max_tokens": 40}, CHAT, {}, (40, 1, None, True), id="the bound of the request is what it wants"),
        pytest.param({}, CHAT, {"maxOutputTokens": 64}, (None, 1, 64, True), id="the lane's model has a longest answer"),
        pytest.param({"max_tokens": 40, "n": 3}, CHAT, {}, (120, 3, None, True), id="each choice may be as long, and has a token at least"),
        pytest.param({"input": "a"}, EMBEDDINGS, {}, (0, 0, None, False), id="embeddings generate nothing and are no turn"),
    ],
)  # fmt: skip
def test_a_request_says_what_it_may_cost(
    body: dict[str, Any], wire: Wire, model: dict[str, Any], expected: tuple[Any, ...]
) -> None:
    asked, prepared = demand(body, wire=wire, **model)
    assert (asked.wanted_output, asked.least_output, asked.longest_output, asked.turn) == expected
    assert asked.body_bytes == len(prepared.body)
    assert (asked.lane.name, asked.model) == ("lane", "m")


async def test_a_request_goes_upstream_with_no_more_output_than_is_reserved() -> None:
    asked, prepared = demand({"max_tokens": 5000})
    reservation = await purse_of().reserve(asked)
    sent = bounded(prepared, reservation, target=target(), wire=CHAT)
    assert sent.output_tokens == reservation.output_tokens < 1000
    assert json.loads(sent.body)["max_tokens"] == reservation.clamp


async def test_a_request_that_fits_is_left_alone() -> None:
    asked, prepared = demand({"max_tokens": 5})
    reservation = await purse_of().reserve(asked)
    assert bounded(prepared, reservation, target=target(), wire=CHAT) is prepared
