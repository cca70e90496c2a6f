"""Between a request and the purse: what the request may cost at most, and the request once it is bounded."""

from __future__ import annotations

from laneway.gateway.cluster.target import Target
from laneway.gateway.cluster.tokens import Caller
from laneway.gateway.money.books import Reservation
from laneway.gateway.money.purse import Demand
from laneway.gateway.wire.base import Prepared, Wire


def demand_of(caller: Caller, *, target: Target, prepared: Prepared, wire: Wire, hold_seconds: float) -> Demand:
    """What a try asks of the purse. ``hold_seconds``: how long the lane lets a call be held."""
    lane = target.lane
    model = next((one for one in lane.spec.models if one.name == target.model), None)
    limits = caller.run.limits
    sized = wire.turns and (limits.cost_usd is not None or limits.tokens is not None or bool(lane.spec.spend))
    least = wire.clamp(prepared, tokens=1, server=lane.spec.endpoint.server).output_tokens if sized else None
    return Demand(
        run=caller.run,
        attempt=caller.attempt,
        lane=lane,
        model=target.model,
        body_bytes=len(prepared.body),
        prices=target.prices,
        wanted_output=prepared.output_tokens if wire.turns else 0,
        least_output=(least or 1) if wire.turns else 0,
        longest_output=model.max_output_tokens if model else None,
        turn=wire.turns,
        hold_seconds=hold_seconds,
    )


def bounded(prepared: Prepared, reservation: Reservation, *, target: Target, wire: Wire) -> Prepared:
    """The request as it may go upstream: asking for no more output than is reserved for it."""
    if reservation.clamp is None:
        return prepared
    return wire.clamp(prepared, tokens=reservation.clamp, server=target.lane.spec.endpoint.server)
