"""What a call costs."""

from __future__ import annotations

import pytest

from laneway.api.modellane import Pricing
from laneway.rules.pricing import cost_micro_usd, prices_of
from laneway.rules.usage import Usage, count, from_chat_completions, from_messages, from_ollama

FULL = {
    "inputUSDPerMillion": "2.50",
    "outputUSDPerMillion": "10",
    "cacheReadUSDPerMillion": "0.25",
    "cacheWriteUSDPerMillion": "3.125",
}
BASE = {"inputUSDPerMillion": "2.50", "outputUSDPerMillion": "10"}


@pytest.mark.row("S1.15", "S2.40", "C13")
@pytest.mark.parametrize(
    ("pricing", "usage", "cost"),
    [
        pytest.param(BASE, Usage(120, 30), 600, id="input and output"),
        pytest.param(BASE, Usage(1_000_000, 0), 2_500_000, id="a million of input"),
        pytest.param(
            FULL,
            Usage(1000, 0, cache_read_tokens=800, cache_write_tokens=100),
            763,
            id="cached input has its own prices",
        ),
        pytest.param(BASE, Usage(1000, 0, cache_read_tokens=800), 2500, id="a cache without a price costs as input"),
        pytest.param(BASE, Usage(1, 0), 3, id="part of a micro-dollar is a whole one"),
        pytest.param(
            {"inputUSDPerMillion": "0", "outputUSDPerMillion": "0"}, Usage(1000, 9), 0, id="free is written as zero"
        ),
        pytest.param({}, Usage(1000, 9), None, id="no price is unknown, not free"),
        pytest.param(None, Usage(1000, 9), None, id="no pricing is unknown, not free"),
        pytest.param(BASE, Usage(1000, None), None, id="unknown output is an unknown cost"),
        pytest.param(BASE, Usage(), None, id="unknown usage is an unknown cost"),
        pytest.param(BASE, Usage(5, 0, cache_read_tokens=9), 23, id="a server that tells more cache than input"),
    ],
)
def test_the_cost_of_a_call(pricing: dict[str, str] | None, usage: Usage, cost: int | None) -> None:
    prices = prices_of(None if pricing is None else Pricing.model_validate(pricing))
    assert cost_micro_usd(prices, usage) == cost


@pytest.mark.row("S2.40")
def test_input_means_the_same_for_every_provider() -> None:
    openai = from_chat_completions(
        {"prompt_tokens": 100, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 60}}
    )
    anthropic = from_messages({"input_tokens": 40, "cache_read_input_tokens": 60, "output_tokens": 5})
    assert openai == anthropic == Usage(100, 5, cache_read_tokens=60)
    assert from_ollama({"done": True, "eval_count": 3}) == Usage(0, 3)


@pytest.mark.parametrize("value", [None, True, -1, 1.5, "7", 10**17], ids=str)
def test_what_is_no_count_is_unknown(value: object) -> None:
    assert count(value) is None
