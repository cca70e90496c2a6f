"""Runs with limits, and the ends that their calls come to, for tests of the purse."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from laneway.api.limits import Limits
from laneway.gateway.cluster.objects import Lane, Run
from laneway.gateway.cluster.spent import Spent
from laneway.gateway.cluster.views import Views
from laneway.gateway.ledger.ledger import CallEnd
from laneway.gateway.money.purse import Demand, Purse
from laneway.gateway.money.spends import SpendKey, Spends
from laneway.gateway.state.state import Clock, State
from laneway.rules.pricing import Prices, cost_micro_usd
from laneway.rules.token import AttemptId
from laneway.rules.usage import Usage
from unit.gateway.kit import call_end, lane_object, utc_now

UID = "run-uid-1"
ATTEMPT = AttemptId(UID, 1)
DOLLAR = 1_000_000
PRICES = Prices(input=3 * DOLLAR, output=15 * DOLLAR, cache_read=300_000, cache_write=3_750_000)
NO_SPENDING = Spent()


def lane(*, version: int = 1, **spec: Any) -> Lane:
    """The lane of the runs; its one model has prices."""
    priced = {"inputUSDPerMillion": "3", "outputUSDPerMillion": "15"}
    views = Views()
    views.lanes.put(lane_object("http://vllm:8000", version=version, models=[{"name": "m", "pricing": priced}], **spec))
    found = views.lanes.get(("agents", "lane"))
    if found is None:
        raise ValueError("the lane cannot be read")
    return found


LANE = lane()


def purse_of(
    state: State | None = None, *, clock: Clock = utc_now, spent: Mapping[SpendKey, int] | None = None
) -> Purse:
    """A purse; ``spent`` is what the ledger knows of lanes."""
    return Purse(state or State(clock=clock), Spends(clock, spent or {}))


def limited(
    limits: Mapping[str, Any],
    *,
    version: int = 1,
    spent: Spent = NO_SPENDING,
    finished: bool = False,
    uid: str = UID,
    namespace: str = "agents",
) -> Run:
    """A run with limits; its generation is its version."""
    return Run(
        namespace=namespace,
        name="run",
        uid=uid,
        version=version,
        attempt=1,
        finished=finished,
        lane=("agents", "lane"),
        model="m",
        generation=version,
        limits=Limits.model_validate(limits),
        spent=spent,
    )


def demand(run: Run, **changes: Any) -> Demand:
    """A call of 1000 bytes that asks for 100 tokens at most."""
    plain = {
        "attempt": ATTEMPT,
        "lane": LANE,
        "model": "m",
        "body_bytes": 1000,
        "prices": PRICES,
        "wanted_output": 100,
    }
    return Demand(run=run, **{**plain, **changes})


def answered(input_tokens: int = 250, output_tokens: int = 50, *, prices: Prices | None = PRICES) -> CallEnd:
    """A call that was answered and told its usage."""
    usage = Usage(input_tokens, output_tokens)
    return call_end(usage=usage, prices=prices, cost=cost_micro_usd(prices, usage))


def failed() -> CallEnd:
    """A call that the server refused: nothing to pay."""
    return call_end(usage=Usage(), cost=None, cause="APITransient", turn=False)


def cut() -> CallEnd:
    """A call that was sent, and whose usage never came."""
    return call_end(usage=Usage(), cost=None, cause="APITransient", turn=False, metered=False)
