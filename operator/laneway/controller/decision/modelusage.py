"""Usage by the model that served (S2.40): shown whole, or not at all. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from laneway.api.gatewaystate import AttemptState
from laneway.api.runstatus import MODELS_SHOWN, ModelUsage, Usage

_NAME_LIMIT = 256


def whole(models: Iterable[ModelUsage], *, given: int | None, got: int | None) -> tuple[ModelUsage, ...] | None:
    """By name. None: a name cannot be shown, there are too many, or they are not all of the ``given`` input and the output that was ``got``."""
    known = sorted(models, key=lambda one: one.model)
    fits = 0 < len(known) <= MODELS_SHOWN and all(0 < len(one.model) <= _NAME_LIMIT for one in known)
    sums = sum(one.input_tokens for one in known), sum(one.output_tokens for one in known)
    return tuple(known) if fits and sums == (given, got) else None


def of_gateway(state: AttemptState) -> tuple[ModelUsage, ...] | None:
    """An attempt's, as the gateway metered it. Names are those of lanes, so they fit."""
    models = (
        ModelUsage.model_construct(
            model=one.model,
            input_tokens=one.input_tokens,
            cache_read_tokens=one.cache_read_tokens,
            cache_write_tokens=one.cache_write_tokens,
            output_tokens=one.output_tokens,
        )
        for one in state.models
    )
    return whole(models, given=state.totals.input_tokens, got=state.totals.output_tokens)


def grown(
    total: Usage | None, *, before: Usage | None, after: Usage, given: int | None, got: int | None
) -> tuple[ModelUsage, ...] | None:
    """The run's once an attempt's usage went from ``before`` to ``after`` and the run's tokens became ``given`` and ``got``."""
    models = {one.model: one for one in (total.by_model if total else None) or ()}
    known = {one.model: one for one in (before.by_model if before else None) or ()}
    for one in after.by_model or ():
        models[one.model] = _sum(models.get(one.model), one, less=known.get(one.model))
    return whole(models.values(), given=given, got=got)


def _sum(mine: ModelUsage | None, more: ModelUsage, *, less: ModelUsage | None) -> ModelUsage:
    counts: dict[str, int | None] = {}
    for name in ("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens"):
        old, new = getattr(mine, name, None), getattr(more, name)
        growth = max(0, (new or 0) - (getattr(less, name, None) or 0))
        counts[name] = None if old is None and new is None else (old or 0) + growth
    return more.model_copy(update=counts)
