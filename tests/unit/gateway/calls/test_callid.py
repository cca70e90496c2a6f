"""The ids of calls in the ledger."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta

from laneway.gateway.calls.callid import call_id

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
_PRINT_ONE = f"""
from datetime import datetime
from laneway.gateway.calls.callid import call_id
print(call_id(datetime.fromisoformat("{NOW.isoformat()}")))
"""


def test_ids_are_of_one_length_and_grow_with_time() -> None:
    ids = [call_id(NOW + timedelta(milliseconds=number // 3)) for number in range(300)]
    assert ids == sorted(set(ids))
    assert {len(one) for one in ids} == {32}


def test_processes_that_begin_in_the_same_moment_give_other_ids() -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ids = {
        subprocess.run(
            [sys.executable, "-c", _PRINT_ONE], env=environment, check=True, capture_output=True, text=True
        ).stdout
        for _ in range(2)
    }
    assert len(ids) == 2
