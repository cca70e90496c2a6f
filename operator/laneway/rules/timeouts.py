"""The time limits of a call that hold on a lane, with all defaults filled in (design section 4; S1.8, S2.15 to S2.19, C18). Pure."""

from __future__ import annotations

from functools import lru_cache

from laneway.api.endpoint import Server
from laneway.api.lanecalls import EffectiveTimeouts, LaneTimeouts

_LOADS_MODELS = frozenset({Server.VLLM, Server.OLLAMA})
_SLOW_SECONDS = 1800
_FAST_REQUEST_SECONDS = 30
_FAST_ANSWER_SECONDS = 600
_SPARE_SECONDS = 60
"""By so much the limit of all tries is over that of one, so that the one that was too slow is named (S2.17)."""


@lru_cache(maxsize=1024)
def effective(server: Server, timeouts: LaneTimeouts) -> EffectiveTimeouts:
    """What a lane says, else what suits its kind of server; a limit of 0 is none. Kept, because each call asks several times."""
    slow = server in _LOADS_MODELS
    request = _or(timeouts.request_seconds, _SLOW_SECONDS if slow else _FAST_REQUEST_SECONDS)
    answer = _or(timeouts.answer_seconds, _SLOW_SECONDS if slow else _FAST_ANSWER_SECONDS)
    longest = max(request, answer) + _SPARE_SECONDS if request and answer else 0
    return EffectiveTimeouts(
        request_seconds=request or None,
        answer_seconds=answer or None,
        call_seconds=_or(timeouts.call_seconds, longest) or None,
        stream_idle_seconds=timeouts.stream_idle_seconds or None,
        hold_seconds=timeouts.hold_seconds,
    )


def _or(said: int | None, default: int) -> int:
    return default if said is None else said
