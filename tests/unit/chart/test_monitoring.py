"""What Prometheus and Grafana get: by render mode, and whatever lies in the chart's files."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from unit.chart.rendering import (
    CHART,
    COMPONENTS,
    KUBERNETES,
    NAMESPACE,
    Object,
    Rendered,
    nested,
    refusal,
    render,
    run,
)

KINDS = {"serviceMonitor": "ServiceMonitor", "prometheusRule": "PrometheusRule"}
GROUP: Object = {"name": "ours", "rules": [{"alert": "Ours", "expr": "up == 0"}]}
FILE_GROUP: Object = {"name": "laneway", "rules": [{"alert": "Theirs", "expr": 'absent(x{y=~"a|b"})'}]}


def values(value: str, **more: object) -> Object:
    """One of the two switched on."""
    given: Object = {"enabled": True, **more}
    if value == "prometheusRule":
        given.setdefault("additionalGroups", [GROUP])
    return nested(f"metrics.{value}", given)


def known(kind: str) -> tuple[str, ...]:
    """Flags by which helm takes the cluster to know a kind, as it finds out itself at an install."""
    return ("--api-versions", f"monitoring.coreos.com/v1/{kind}")


@pytest.mark.parametrize(("value", "kind"), KINDS.items(), ids=KINDS.values())
class TestRenderModes:
    @pytest.mark.parametrize(
        ("mode", "knows", "count"),
        [
            pytest.param("skipIfMissing", False, 0, id="skipped where the kind is not known"),
            pytest.param("skipIfMissing", True, 1, id="not skipped where it is"),
            pytest.param("failIfMissing", True, 1, id="no failure where the kind is known"),
            pytest.param("alwaysRender", False, 1, id="rendered always"),
        ],
    )
    def test_mode(self, value: str, kind: str, mode: str, knows: bool, count: int) -> None:
        rendered = render(values(value, renderMode=mode), flags=known(kind) if knows else ())
        assert len(rendered.kind(kind)) == count

    def test_failure_says_which_value_to_change(self, value: str, kind: str) -> None:
        message = refusal(values(value, renderMode="failIfMissing"))
        assert f"does not know monitoring.coreos.com/v1 {kind}" in message
        assert f"set metrics.{value}.renderMode to skipIfMissing" in message

    def test_switched_off_it_fails_nowhere(self, value: str, kind: str) -> None:
        assert render(nested(f"metrics.{value}.renderMode", "failIfMissing")).kind(kind) == []

    def test_place_labels_and_annotations_are_the_users(self, value: str, kind: str) -> None:
        given = {"namespace": "monitoring", "additionalLabels": {"release": "kps"}, "annotations": {"a": "b"}}
        metadata = render(values(value, **given), flags=known(kind)).get(kind, "laneway")["metadata"]
        assert metadata["namespace"] == "monitoring"
        assert metadata["labels"]["release"] == "kps"
        assert metadata["labels"]["app.kubernetes.io/instance"] == "laneway"
        assert metadata["annotations"] == {"a": "b"}


class TestServiceMonitor:
    def spec(self, **more: object) -> Object:
        rendered = render(values("serviceMonitor", **more), flags=known("ServiceMonitor"))
        found: Object = rendered.get("ServiceMonitor", "laneway")["spec"]
        return found

    def test_it_selects_the_metrics_services_of_both_and_no_other_port(self) -> None:
        spec = self.spec()
        assert spec["namespaceSelector"] == {"matchNames": [NAMESPACE]}
        [endpoint] = spec["endpoints"]
        scraped = {
            service["metadata"]["name"]
            for service in render().kind("Service")
            if spec["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
            and endpoint["port"] in [port["name"] for port in service["spec"]["ports"]]
        }
        assert scraped == {f"laneway-{component}-metrics" for component in COMPONENTS}

    def test_labels_of_our_metrics_are_kept(self) -> None:
        """Else ``namespace`` would be that of the gateway, for every lane."""
        assert self.spec()["endpoints"] == [{"port": "metrics", "interval": "30s", "honorLabels": True}]

    def test_scrape_is_the_users(self) -> None:
        given: Object = {
            "interval": "1m",
            "scrapeTimeout": "20s",
            "honorLabels": False,
            "relabelings": [{"action": "labeldrop", "regex": "pod"}],
            "metricRelabelings": [{"action": "drop", "sourceLabels": ["__name__"], "regex": "python_.*"}],
        }
        assert self.spec(**given)["endpoints"] == [{"port": "metrics", **given}]

    def test_annotations_for_other_scrapers_stand_on_both_services(self) -> None:
        rendered = render(nested("metrics.service.annotations", {"prometheus.io/scrape": "true"}))
        for component in COMPONENTS:
            metadata = rendered.get("Service", f"laneway-{component}-metrics")["metadata"]
            assert metadata["annotations"] == {"prometheus.io/scrape": "true"}
        assert "annotations" not in rendered.get("Service", "laneway-gateway")["metadata"]


class TestFiles:
    """Rules and dashboards, in copies of the chart that have them and that have none."""

    def test_without_a_rule_file_the_users_groups_are_left(self, tmp_path: Path) -> None:
        [rule] = _render(_chart(tmp_path, rules=None), values("prometheusRule")).kind("PrometheusRule")
        assert rule["spec"] == {"groups": [GROUP]}

    def test_with_no_group_at_all_there_is_no_rule(self, tmp_path: Path) -> None:
        given = values("prometheusRule", additionalGroups=[], renderMode="failIfMissing")
        assert _render(_chart(tmp_path, rules=None), given).kind("PrometheusRule") == []

    def test_groups_of_the_file_come_first_and_unchanged(self, tmp_path: Path) -> None:
        chart = _chart(tmp_path, rules=yaml.safe_dump({"groups": [FILE_GROUP]}))
        [rule] = _render(chart, values("prometheusRule")).kind("PrometheusRule")
        assert rule["spec"] == {"groups": [FILE_GROUP, GROUP]}

    def test_runbooks_are_where_the_user_says(self) -> None:
        given = values("prometheusRule", runbookURL="https://wiki.example/laneway", additionalGroups=[])
        [rule] = _render(CHART, given).kind("PrometheusRule")
        found = {one["alert"]: one["annotations"]["runbook_url"] for one in rule["spec"]["groups"][0]["rules"]}
        assert found == {name: f"https://wiki.example/laneway/{name}" for name in found}

    def test_rule_file_that_is_no_yaml_is_refused_by_its_name(self, tmp_path: Path) -> None:
        result = _helm(_chart(tmp_path, rules="groups: ]"), values("prometheusRule"))
        assert result.returncode != 0
        assert "files/rules.yaml is not a rule file" in result.stderr

    def test_each_dashboard_is_a_config_map_with_the_label_of_the_sidecar(self, tmp_path: Path) -> None:
        dashboard = {"title": "A", "templating": {"legend": "{{lane}} $x"}}
        chart = _chart(tmp_path, dashboards={"laneway": dashboard, "other": {"title": "B"}})
        found = _render(chart, nested("metrics.dashboards.enabled", True)).kind("ConfigMap")
        assert [one["metadata"]["name"] for one in found] == ["laneway-dashboard-laneway", "laneway-dashboard-other"]
        assert [one["metadata"]["labels"]["grafana_dashboard"] for one in found] == ["1", "1"]
        assert json.loads(found[0]["data"]["laneway.json"]) == dashboard

    def test_label_place_and_annotations_of_dashboards_are_the_users(self, tmp_path: Path) -> None:
        given = {
            "enabled": True,
            "namespace": "monitoring",
            "label": "dashboards",
            "labelValue": "yes",
            "annotations": {"grafana_folder": "AI"},
        }
        chart = _chart(tmp_path, dashboards={"laneway": {}})
        [found] = _render(chart, nested("metrics.dashboards", given)).kind("ConfigMap")
        assert found["metadata"]["namespace"] == "monitoring"
        assert found["metadata"]["labels"]["dashboards"] == "yes"
        assert "grafana_dashboard" not in found["metadata"]["labels"]
        assert found["metadata"]["annotations"] == {"grafana_folder": "AI"}

    @pytest.mark.parametrize("enabled", [True, False])
    def test_without_files_or_switched_off_there_is_no_config_map(self, tmp_path: Path, enabled: bool) -> None:
        chart = _chart(tmp_path, dashboards={} if enabled else {"laneway": {}})
        assert _render(chart, nested("metrics.dashboards.enabled", enabled)).kind("ConfigMap") == []


def _chart(folder: Path, *, rules: str | None = None, dashboards: dict[str, Object] | None = None) -> Path:
    """A copy of the chart with these files and no others."""
    chart = folder / "laneway"
    shutil.copytree(CHART, chart)
    shutil.rmtree(chart / "files" / "dashboards", ignore_errors=True)
    (chart / "files" / "rules.yaml").unlink(missing_ok=True)
    if rules is not None:
        (chart / "files" / "rules.yaml").write_text(rules)
    for name, dashboard in (dashboards or {}).items():
        file = chart / "files" / "dashboards" / f"{name}.json"
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(dashboard, indent=2))
    return chart


def _helm(chart: Path, given: Object) -> subprocess.CompletedProcess[str]:
    flags = ("--namespace", NAMESPACE, "--kube-version", KUBERNETES, *known("PrometheusRule"))
    return run("template", "laneway", str(chart), *flags, values=given)


def _render(chart: Path, given: Object) -> Rendered:
    result = _helm(chart, given)
    assert result.returncode == 0, result.stderr
    return Rendered(result.stdout)
