"""What the installed operator and gateway have asked of the API server in all these tests, by its audit log, against the chart's rights."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from e2e.conftest import Demo
from integration import auditlog
from unit.chart.rendering import render
from unit.chart.rights import rights_in

FOLDER = Path(__file__).parent
AFTER_A_LOST_ANSWER: set[tuple[str, str, str, str, str]] = set()
"""What is asked for only when an answer of the API server was lost: ``tests/integration/test_rights.py`` loses some."""


@pytest.fixture
def requests(demo: Demo) -> list[auditlog.Request]:
    """The requests so far."""
    logs = Path(os.environ["KUBECONFIG"]).parents[1] / "log"
    found = [request for file in sorted(logs.glob("audit*.log")) for request in auditlog.read(file)]
    if not found:
        pytest.skip("this cluster keeps no audit log")  # kind
    return found


def test_nothing_that_was_asked_for_was_refused(requests: list[auditlog.Request]) -> None:
    assert auditlog.forbidden(requests) == []


@pytest.mark.of_all_tests
def test_every_right_was_used_but_those_that_a_lost_answer_needs(
    request: pytest.FixtureRequest, requests: list[auditlog.Request]
) -> None:
    if {item.path for item in request.session.items} != set(FOLDER.glob("test_*.py")):
        pytest.skip("only some of the end-to-end tests were run")
    assert auditlog.unused(rights_in(render()), requests) == AFTER_A_LOST_ANSWER
