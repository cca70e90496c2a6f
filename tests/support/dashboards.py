"""The dashboard of the chart, as a test reads it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILE = Path(__file__).parents[2] / "helm" / "laneway" / "files" / "dashboards" / "laneway.json"


@dataclass(frozen=True)
class Query:
    """One query of a panel."""

    panel: str
    expr: str
    """As it stands in the file, with Grafana's variables."""
    legend: str

    def promql(self, *, interval: str = "5m") -> str:
        """As Grafana sends it with all namespaces and lanes chosen."""
        filled = self.expr.replace("$__rate_interval", interval)
        return filled.replace("$namespace", ".*").replace("$lane", ".*")


def dashboard() -> dict[str, Any]:
    """The whole file."""
    loaded: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    return loaded


def panels() -> list[dict[str, Any]]:
    """All panels but the titles of rows."""
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def queries() -> list[Query]:
    """All queries of all panels."""
    return [Query(panel["title"], one["expr"], one["legendFormat"]) for panel in panels() for one in panel["targets"]]
