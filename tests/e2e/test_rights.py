"""What the installed operator and gateway have asked of the API server in all these tests, by its audit log, against the chart's rights."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from e2e.conftest import Demo
from integration import auditlog
from unit.chart.rendering import render
from unit.chart.rights import rights_in

pytestmark = pytest.mark.of_all_tests
BY_CHANCE = {
    ("operator", "served", "agentruns.laneway.dev", "", "get"),
    ("operator", "served", "modellanes.laneway.dev", "", "get"),
    ("gateway", "served", "agentruns.laneway.dev", "", "get"),
}
"""What is asked for only after an answer or an event was lost, or came late: ``tests/integration/test_rights.py`` sees to that, and shows these."""


@pytest.fixture
def requests(demo: Demo) -> list[auditlog.Request]:
    """All requests of operators and gateways."""
    logs = Path(os.environ["KUBECONFIG"]).parents[1] / "log"
    return [request for file in sorted(logs.glob("audit*.log")) for request in auditlog.read(file)]


def test_nothing_that_was_asked_for_was_refused(requests: list[auditlog.Request]) -> None:
    assert requests
    assert auditlog.forbidden(requests) == []


def test_every_right_was_used_but_those_that_need_a_lost_answer(requests: list[auditlog.Request]) -> None:
    assert auditlog.unused(rights_in(render()), requests) <= BY_CHANCE
