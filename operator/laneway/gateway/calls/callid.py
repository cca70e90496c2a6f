"""The id of a call in the ledger."""

from __future__ import annotations

import itertools
import secrets
from datetime import datetime

_PROCESS = secrets.token_hex(6)
_numbers = itertools.count()


def call_id(started: datetime) -> str:
    """32 hexadecimal digits, unlike those of any other call, of this process or another: milliseconds, process, number.

    Ids grow with time, so that the ledger adds to the end of its index.
    """
    return f"{int(started.timestamp() * 1000):012x}{_PROCESS}{next(_numbers):08x}"
