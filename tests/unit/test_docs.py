"""The documents name everything that the code has, and nothing that it has not."""

from __future__ import annotations

import ast
import re
import runpy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from laneway.api import reasons
from laneway.controller.facts.presets import Preset
from laneway.controller.outside.presetfiles import SHIPPED, load_presets
from laneway.controller.pods import diagnosis
from laneway.controller.pods.pod import Plan, build_pod
from support import builders
from support.sources import PACKAGE, metrics, parsed

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
RULES = ROOT / "helm" / "laneway" / "files" / "rules.yaml"
RUNBOOKS = ROOT / "docs" / "runbooks"
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("*.md"))

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"`([^`\n]+)`")
_FILE = re.compile(r"[\w./-]+\.(py|yaml|md|toml|txt|lock)")
_PLACES_ELSEWHERE = ("http:", "https:", "mailto:")


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def section(name: str, heading: str) -> str:
    """A part of a page, from the heading that begins like this to the next of its rank."""
    return page(name).split(f"\n{heading}", 1)[1].split("\n## ", 1)[0]


def in_code(text: str) -> set[str]:
    """Everything that stands between backticks."""
    return set(_CODE.findall(text))


def rows(text: str) -> dict[str, str]:
    """The lines of tables, by each name in code in their first cell."""
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    return {name: line for line in lines for name in _CODE.findall(line.split(" | ")[0])}


def settings() -> set[str]:
    """The variables that the code reads."""
    return set(
        re.findall(r'"((?:LANEWAY|OPENAI|OTEL)_[A-Z_]+)"', (PACKAGE / "settings.py").read_text(encoding="utf-8"))
    )


def obstacles() -> set[str]:
    """The reasons that diagnosis.py has for a pod that does not start."""
    tree = ast.parse(Path(diagnosis.__file__).read_text(encoding="utf-8"))
    function = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "find_obstacle")
    words = {
        node.value for node in ast.walk(function) if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    return {word for word in words if re.fullmatch(r"[A-Z]\w+", word)} | set(diagnosis._PULL_REASONS)


def anchor(heading: str) -> str:
    """How a heading is linked to."""
    kept = re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower())
    return kept.strip().replace(" ", "-")


def anchors(text: str) -> set[str]:
    return {anchor(line.lstrip("#")) for line in text.splitlines() if line.startswith("#")}


SECTIONS = {
    reasons.Waiting: "## A run waits",
    reasons.Admitted: "## A run holds a slot",
    reasons.End: "## A run has ended",
    reasons.Outcome: "## How an attempt ended",
    reasons.Cause: "## How an attempt ended",
    reasons.LaneReason: "## A lane",
}
"""Where troubleshooting.md has the reasons of a kind."""


@pytest.mark.parametrize(
    ("reason", "heading"),
    [
        pytest.param(reason, heading, id=f"{kind.__name__} {reason}")
        for kind, heading in SECTIONS.items()
        for reason in kind
    ]
    + [pytest.param(reason, "## A run holds a slot", id=f"obstacle {reason}") for reason in sorted(obstacles())],
)
def test_every_reason_has_a_row_that_says_what_it_means(reason: str, heading: str) -> None:
    assert reason in rows(section("troubleshooting.md", heading))


@pytest.mark.row("S3.42")
def test_the_tables_of_events_waits_and_ends_name_exactly_those_of_the_code() -> None:
    assert set(rows(section("operate.md", "## Events"))) == set(reasons.EventReason)
    assert set(rows(section("troubleshooting.md", "## A run waits"))) == {*reasons.Waiting, "Finished"}
    assert set(rows(section("troubleshooting.md", "## A run has ended"))) == set(reasons.End)


def test_every_setting_of_the_code_is_in_the_documents_and_no_other() -> None:
    text = page("operate.md")
    written = {word for word in in_code(text) if re.fullmatch(r"(LANEWAY|OPENAI|OTEL)_[A-Z_]+", word)}
    assert written == settings()


def test_every_metric_of_the_code_is_in_the_documents_with_its_labels() -> None:
    table = {name: line for name, line in rows(page("operate.md")).items() if name.startswith("laneway_")}
    written = {name: _CODE.findall(line.split(" | ")[2]) for name, line in table.items()}
    assert written == metrics()


def alerts() -> dict[str, dict[str, Any]]:
    """The chart's rules by their names."""
    [group] = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return {rule["alert"]: rule for rule in group["rules"]}


REASONS = {
    "laneway_runs_finished_total": {*reasons.End, "Succeeded", "Failed", "Cancelled"},
    "laneway_upstream_throttled_total": set(reasons.Cause),
    "laneway_trace_spans_total": {"sent", "dropped", "failed"},
    "laneway_reconciles_total": {"done", "stale", "unavailable", "unreadable", "failed"},
    "laneway_requests_total": {str(status) for status in range(200, 600)},
}
"""What the labels that rules pick by can say, as far as it is a closed list."""


@pytest.mark.row("S3.35")
@pytest.mark.parametrize("rule", [pytest.param(rule, id=name) for name, rule in alerts().items()])
def test_an_alert_speaks_of_metrics_labels_and_reasons_that_there_are(rule: dict[str, Any]) -> None:
    known, labels = metrics(), set()
    picked = re.findall(r"(laneway_\w+)(?:\{(\w+)=~?\"([^\"]*)\"\})?", rule["expr"])
    for name, label, values in picked:
        metric = re.sub(r"_(bucket|count|sum)$", "", name)
        assert metric in known
        assert not label or label in known[metric]
        assert not label or set(values.split("|")) <= REASONS[metric]
        labels |= set(known[metric])
    grouped = {name.strip() for names in re.findall(r"by \(([^)]*)\)", rule["expr"]) for name in names.split(",")}
    said = {label for text in rule["annotations"].values() for label in re.findall(r"\$labels\.(\w+)", text)}
    assert picked
    assert grouped <= {*labels, "le"}
    assert said <= (grouped or labels)


@pytest.mark.row("S3.35")
@pytest.mark.parametrize("rule", [pytest.param(rule, id=name) for name, rule in alerts().items()])
def test_an_alert_says_how_bad_it_is_what_it_is_and_where_to_read_on(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in {"info", "warning", "critical"}
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    assert rule["annotations"]["runbook_url"] == f"https://laneway.dev/runbooks/{rule['alert']}"


def test_every_alert_has_its_runbook_page_and_every_page_its_alert() -> None:
    pages = {path.stem: path.read_text(encoding="utf-8") for path in RUNBOOKS.iterdir()}
    assert pages.keys() == alerts().keys()
    for name, text in pages.items():
        assert text.startswith(f"# {name}\n")
        headings = [line for line in text.splitlines() if line.startswith("## ")]
        assert headings == ["## What it means", "## How to see it", "## What to do", "## How to prevent it"]


def test_a_runbook_asks_for_metrics_that_there_are() -> None:
    said = {
        name for path in RUNBOOKS.iterdir() for name in re.findall(r"laneway_\w+", path.read_text(encoding="utf-8"))
    }
    assert said
    assert said <= metrics().keys()


def test_the_rules_of_the_page_are_those_of_the_chart() -> None:
    _, _, block = section("alerts.md", "## Rules").partition("```yaml\n")
    assert block.partition("```")[0] == RULES.read_text(encoding="utf-8")


@pytest.mark.row("S3.35")
def test_every_alert_that_is_named_is_a_rule() -> None:
    assert {word for word in in_code(page("alerts.md")) if word.startswith("Laneway")} <= set(alerts())


def test_every_variable_of_an_agent_s_pod_is_in_its_contract() -> None:
    attempt = builders.attempt()
    plan = Plan(
        run=builders.run(),
        lane=builders.lane(),
        preset=load_presets([SHIPPED])["laneway"],
        attempt=attempt,
        surroundings=replace(builders.SURROUNDINGS, traceparent="00-trace-span-01"),
    )
    container = build_pod(plan)["spec"]["containers"][0]
    assert {variable["name"] for variable in container["env"]} <= set(rows(page("agents.md")))


def test_every_field_of_a_preset_is_in_the_documents() -> None:
    names = {field.alias or name for name, field in Preset.model_fields.items()}
    assert names == set(rows(section("agents.md", "## Presets")))


def test_every_path_of_the_architecture_exists() -> None:
    named = {word.rstrip("/") for word in in_code(page("architecture.md")) if "/" in word or _FILE.fullmatch(word)}
    paths = {word for word in named if _FILE.fullmatch(word) or (ROOT / word.split("/")[0]).is_dir()}
    missing = {path for path in paths if not any((base / path).exists() for base in (ROOT, PACKAGE))}
    assert len(paths) > 30
    assert not missing


@pytest.mark.parametrize("package", ["controller", "gateway"])
def test_the_tables_of_rooms_name_exactly_those_of_the_code(package: str) -> None:
    table = section("architecture.md", "## Rooms").split(f"| `{package}/` |", 1)[1].split("\n\n", 1)[0]
    modules = {path.stem for path in (PACKAGE / package).iterdir() if path.suffix == ".py"} - {"__init__"}
    rooms = {path.parent.name for path in (PACKAGE / package).glob("*/__init__.py")}
    assert set(rows(table)) == modules | rooms


def test_every_function_of_the_architecture_exists() -> None:
    """``name()`` is a function, ``Class.name`` a method."""
    functions: set[str] = set()
    for tree in parsed():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                functions |= {
                    f"{node.name}.{each.name}"
                    for each in node.body
                    if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)
                }
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                functions.add(f"{node.name}()")
    code = in_code(page("architecture.md"))
    named = {word for word in code if re.fullmatch(r"\w+\(\)|[A-Z][a-z]\w*\._?[a-z]\w*", word)}
    named -= {word for word in named if word.startswith(("AgentRun.", "ModelLane."))}  # fields of the objects
    assert len(named) > 15
    assert named <= functions


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    broken = []
    for target in _LINK.findall(_CODE.sub("", text)):
        if target.startswith(_PLACES_ELSEWHERE):
            continue
        file, _, part = target.partition("#")
        there = (path.parent / file).resolve() if file else path
        if not there.exists() or (part and part not in anchors(there.read_text(encoding="utf-8"))):
            broken.append(target)
    assert not broken


@pytest.mark.parametrize("path", DECISIONS, ids=lambda path: path.stem)
def test_a_decision_is_short_and_has_its_three_parts(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.startswith(f"# {path.name[:4]}: ")
    assert [line for line in text.splitlines() if line.startswith("## ")][:3] == [
        "## Context",
        "## Decision",
        "## Consequence",
    ]
    decision, _, _ = text.partition("\n## Pages\n")  # the first page also lists the others, and that list grows
    assert len(decision.splitlines()) <= 35


def test_decisions_are_listed_and_counted_without_gaps() -> None:
    assert [path.name[:4] for path in DECISIONS] == [f"{number:04}" for number in range(1, len(DECISIONS) + 1)]
    listed = _LINK.findall(DECISIONS[0].read_text(encoding="utf-8"))
    assert listed == [path.name for path in DECISIONS[1:]]


# hack/record, which writes outputs into pages

PAGE = """# A page
<!-- cleanup: rm -f left -->
<!-- recorded -->
old
<!-- /recorded -->
<!-- run: touch left -->
```console
$ cat <<END
> one
> END
an old output
$ printf '%s\\n' '$ a prompt in an output' "$PWD"
```

```sh
$ this is not run
```
"""


@pytest.fixture
def record(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.syspath_prepend(str(ROOT / "hack"))
    return runpy.run_path(str(ROOT / "hack" / "record"))


def test_a_page_is_recorded_again_and_again_with_the_same_commands(record: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text(PAGE)
    for _ in range(2):
        record["Page"](path).record()
    text = path.read_text()
    assert "```console\n$ cat <<END\n> one\n> END\none\n$ printf" in text
    assert "\n $ a prompt in an output\n.\n```" in text
    assert re.search(r"-->\nRecorded at commit \w{12}.*, on \d+ cores with \d+ GB of memory\.\n<!--", text)
    assert "$ this is not run\n```\n" in text
    assert not (ROOT / "left").exists()


@pytest.mark.parametrize(
    "block",
    [
        pytest.param("```console\n$ false\n```", id="a command fails"),
        pytest.param("```console fails\n$ true\n```", id="a command that should fail does not"),
        pytest.param("```console\n$ true", id="a block has no end"),
    ],
)
def test_a_page_is_left_alone_when(record: dict[str, Any], tmp_path: Path, block: str) -> None:
    path = tmp_path / "page.md"
    path.write_text(f"{PAGE}{block}\n")
    with pytest.raises(record["StepError"], match=r"failed: re(cord|ad)ing page"):
        record["Page"](path).record()
    assert path.read_text() == f"{PAGE}{block}\n"
    assert not (ROOT / "left").exists()


def names_of_tests(text: str) -> list[str]:
    return [name for name in _CODE.findall(text) if re.fullmatch(r"tests/[\w/]+\.py(::\w+)?", name)]


@pytest.mark.parametrize("named", names_of_tests(page("day-one.md")))
def test_every_test_that_is_named_is_there(named: str) -> None:
    file, _, name = named.partition("::")
    text = (ROOT / file).read_text(encoding="utf-8")
    assert f"def {name}(" in text if name else text
