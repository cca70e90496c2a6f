"""The dashboard asks for what there is, fits the screen, and can be put into any Grafana."""

from __future__ import annotations

import re
from itertools import combinations
from typing import Any

import pytest

from support.dashboards import Query, dashboard, panels, queries
from support.sources import metrics

_OWN = {"le"}
"""Labels that histograms have by themselves."""
_HISTOGRAM_PARTS = re.compile(r"_(bucket|count|sum)$")


def asked(expr: str) -> dict[str, set[str]]:
    """The metrics of a query, with the labels that it picks each by."""
    found: dict[str, set[str]] = {}
    for name, matchers in re.findall(r"\b(laneway_\w+)(?:\{([^}]*)\})?", expr):
        found.setdefault(name, set()).update(re.findall(r"(\w+)(?:=~|!~|!=|=)", matchers))
    return found


@pytest.mark.parametrize("query", [pytest.param(one, id=f"{one.panel}: {one.legend}") for one in queries()])
def test_a_query_names_metrics_and_labels_that_there_are(query: Query) -> None:
    known, labels = metrics(), set(_OWN)
    assert asked(query.expr)
    for name, picked in asked(query.expr).items():
        metric = name if name in known else _HISTOGRAM_PARTS.sub("", name)
        assert metric in known
        assert picked <= set(known[metric])
        labels |= set(known[metric])
    grouped = {name.strip() for names in re.findall(r"by \(([^)]*)\)", query.expr) for name in names.split(",")}
    said = set(re.findall(r"\{\{(\w+)\}\}", query.legend))
    assert grouped <= labels
    assert said <= (grouped or labels)


def test_every_panel_says_what_it_shows_and_asks_the_chosen_data_source() -> None:
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    for panel in panels():
        assert panel["title"]
        assert panel["description"].endswith(".")
        assert all(part["datasource"] == chosen for part in (panel, *panel["targets"]))


def test_it_clashes_with_no_other_dashboard_and_has_its_variables() -> None:
    whole = dashboard()
    assert (whole["uid"], whole["id"]) == (None, None)
    assert [one["name"] for one in whole["templating"]["list"]] == ["datasource", "namespace", "lane"]
    for one in whole["templating"]["list"][1:]:
        assert set(re.findall(r"laneway_\w+", one["definition"])) <= metrics().keys()


def test_no_panel_covers_another_and_ids_are_given_once() -> None:
    every = dashboard()["panels"]
    assert len({panel["id"] for panel in every}) == len(every)
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in every)
    assert not [
        (one["title"], other["title"])
        for one, other in combinations(every, 2)
        if _overlap(one["gridPos"], other["gridPos"])
    ]


def _overlap(one: dict[str, Any], other: dict[str, Any]) -> bool:
    across = one["x"] < other["x"] + other["w"] and other["x"] < one["x"] + one["w"]
    down = one["y"] < other["y"] + other["h"] and other["y"] < one["y"] + one["h"]
    return across and down


@pytest.mark.parametrize("subject", ["lane_slots", "waiting_runs", "run_wait", "throttled", "cost_usd", "fallbacks"])
def test_it_shows_the_subjects_that_people_run_lanes_by(subject: str) -> None:
    assert [one for one in queries() if subject in one.expr]
