"""What every call works with, and the operations that it may be."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from laneway.gateway.client.hold import KEEP_ALIVE_SECONDS
from laneway.gateway.cluster.objects import Lane
from laneway.gateway.ledger.ledger import CallEnd, CallStart, Ledger
from laneway.gateway.money.purse import Purse
from laneway.gateway.state.state import Clock, State
from laneway.gateway.upstream.credentials import Credentials
from laneway.gateway.upstream.upstream import Upstream
from laneway.gateway.wire.base import Wire
from laneway.rules.retry import Pick
from laneway.rules.token import AttemptId


@dataclass(frozen=True, slots=True)
class Operation:
    """One path of a wire API, the same for the client and for the server."""

    path: str
    wire: Wire
    generates: bool = True
    """False: it makes no tokens, so it is neither metered nor a row of the ledger."""

    @property
    def makes_a_turn(self) -> bool:
        """Whether an answered call is a turn; only such calls are tried again (S1.10)."""
        return self.generates and self.wire.turns


@dataclass(frozen=True)
class Tools:
    """What every call works with."""

    upstream: Upstream
    credentials: Credentials
    ledger: Ledger
    state: State
    purse: Purse
    clock: Clock
    key_changed: Callable[[Lane], None] = lambda lane: None
    """Told when a lane's key turned out to be another than before."""
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    """Waits between tries, in seconds."""
    pick: Pick = random.randint
    """Chance."""
    on_settled: Callable[[CallStart, CallEnd], None] | None = None
    """Told of each try that was settled; None: nobody asks."""
    keep_alive_seconds: float = KEEP_ALIVE_SECONDS
    """A held stream tells its client so often that it is alive."""

    async def recall(self, attempt: AttemptId) -> None:
        """Have in the state what the ledger knows of an attempt, if this process has not seen it. Raises LedgerError."""
        if self.state.knows(attempt):
            return
        past = await self.ledger.past_of(attempt)
        if past is not None and not self.state.knows(attempt):
            self.state.remember(past)
