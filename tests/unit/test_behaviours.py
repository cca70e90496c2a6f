"""The table of behaviours says only what a run has shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import behaviours

pytest_plugins = ["pytester"]

ROWS = {"S0.1": "One.", "S0.2": "Two.", "B1": "Three.", "C1": "Four."}


def ran(rows: dict[str, list[str]], *, failed: int = 0, skipped: int = 0) -> dict[str, Any]:
    return {"rows": rows, "ran": 1, "failed": failed, "skipped": skipped}


def run_pytest(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tests: str) -> tuple[pytest.RunResult, Any]:
    """Run tests in a session of their own with the plugin and the project's own rows."""
    monkeypatch.setenv("PYTHONPATH", str(behaviours.ROOT / "tests"))
    pytester.makeini("[pytest]\nmarkers =\n    row(*rows): rows\n")
    pytester.makepyfile(test_it=f"import pytest\n{tests}")
    out = pytester.path / "rows.json"
    result = pytester.runpytest_subprocess("-p", "behaviours", "-p", "no:asyncio", "--rows-out", str(out))
    return result, json.loads(out.read_text())


def test_a_passed_test_shows_its_rows_once_for_all_its_cases(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    tests = """
@pytest.mark.row("S0.19", "B9")
@pytest.mark.parametrize("n", [1, 2])
def test_a(n): pass
def test_b(): pass
"""
    result, out = run_pytest(pytester, monkeypatch, tests)
    assert result.ret == 0
    assert out == {
        "rows": {"S0.19": ["test_it.py::test_a"], "B9": ["test_it.py::test_a"]},
        "ran": 3,
        "failed": 0,
        "skipped": 0,
    }
    result.stdout.fnmatch_lines(["ran 3, failed 0, skipped 0"])


@pytest.mark.parametrize(
    ("tests", "counts", "words"),
    [
        pytest.param(
            '@pytest.mark.skip\n@pytest.mark.row("S0.19")\ndef test_a(): pass',
            (0, 0, 1),
            "skipped tests fail*",
            id="a skip",
        ),
        pytest.param(
            '@pytest.mark.row("S0.19")\ndef test_a(): pytest.skip("x")',
            (0, 0, 1),
            "skipped tests fail*",
            id="a skip inside",
        ),
        pytest.param(
            'pytest.skip("x", allow_module_level=True)', (0, 0, 1), "skipped tests fail*", id="a skip of a whole module"
        ),
        pytest.param(
            '@pytest.mark.xfail\n@pytest.mark.row("S0.19")\ndef test_a(): assert 0',
            (0, 0, 1),
            "skipped tests fail*",
            id="an expected failure",
        ),
        pytest.param('@pytest.mark.row("S0.19")\ndef test_a(): assert 0', (1, 1, 0), "*1 failed*", id="a failure"),
        pytest.param(
            '@pytest.fixture\ndef f():\n    yield\n    assert 0\n@pytest.mark.row("S0.19")\ndef test_a(f): pass',
            (1, 1, 0),
            "*1 error*",
            id="a failure of the cleaning up",
        ),
        pytest.param(
            '@pytest.mark.row("S0.19")\n@pytest.mark.parametrize("n", [0, 1])\ndef test_a(n): assert n',
            (2, 1, 0),
            "*1 failed*",
            id="one case of two",
        ),
    ],
)
def test_what_failed_or_was_skipped_shows_nothing_and_fails_the_session(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tests: str, counts: tuple[int, int, int], words: str
) -> None:
    result, out = run_pytest(pytester, monkeypatch, tests)
    assert result.ret != 0
    assert ((out["ran"], out["failed"], out["skipped"]), out["rows"]) == (counts, {})
    result.stdout.fnmatch_lines([words])


def test_a_row_that_does_not_exist_fails_the_session(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    result, _ = run_pytest(pytester, monkeypatch, '@pytest.mark.row("S9.99")\ndef test_a(): pass')
    assert result.ret != 0
    result.stdout.fnmatch_lines(["no such behaviour row: S9.99, named by test_it.py::test_a"])


def test_the_page_merges_runs_and_decisions() -> None:
    shown = behaviours.merge(
        [ran({"S0.1": ["tests/b.py::t"]}), ran({"S0.1": ["tests/a.py::t"], "B1": ["tests/a.py::t"]})]
    )
    settled = behaviours.read_decisions({"0007-x.md": "# X\n\nRows: C1, B1\n", "0008-y.md": "# Y\n"})
    lines = behaviours.render(ROWS, shown, settled).splitlines()
    assert "| S0.1 | One. | `a.py::t`<br>`b.py::t` |" in lines
    assert "| S0.2 | Two. | not yet |" in lines
    assert "| B1 | Three. | `a.py::t`<br>[decision 0007](decisions/0007-x.md) |" in lines
    assert "| C1 | Four. | [decision 0007](decisions/0007-x.md) |" in lines
    assert "4 rows: 2 shown by tests, 1 settled by a decision, 1 not yet." in lines


@pytest.mark.parametrize(
    "result",
    [pytest.param(ran({}, failed=1), id="a failure"), pytest.param(ran({}, skipped=1), id="a skip")],
)
def test_no_page_is_made_of_a_run_with(result: dict[str, Any]) -> None:
    with pytest.raises(behaviours.BehavioursError, match="failed and"):
        behaviours.merge([ran({}), result])


def test_a_decision_about_an_unknown_row_is_refused() -> None:
    with pytest.raises(behaviours.BehavioursError, match=r"no such row: S8\.1"):
        behaviours.render(ROWS, {}, behaviours.read_decisions({"0001-x.md": "Rows: S8.1\n"}))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("S0.1 One.\n", "two spaces", id="one space"),
        pytest.param("X0.1  One.\n", "must be an id", id="no such section"),
        pytest.param("S0.1  One.\nS0.1  Two.\n", "twice", id="an id twice"),
        pytest.param(f"S0.1  {'x' * 91}\n", "at most 90", id="a long sentence"),
    ],
)
def test_wrong_rows_are_refused(text: str, words: str) -> None:
    with pytest.raises(behaviours.BehavioursError, match=words):
        behaviours.read_rows(text)


def test_the_rows_are_all_there() -> None:
    rows = list(behaviours.read_rows(behaviours.ROWS_FILE.read_text()))
    sections = {"S0.": 30, "S1.": 17, "S2.": 41, "S3.": 45, "S4.": 53, "B": 23, "C": 25}
    assert rows == [f"{prefix}{number}" for prefix, last in sections.items() for number in range(1, last + 1)]


def test_the_program_writes_the_page_or_says_why_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "a.json"
    file.write_text(json.dumps(ran({"S0.19": ["tests/a.py::t"]})))
    assert behaviours.main([str(file)]) == 0
    assert "| S0.19 | " in capsys.readouterr().out
    assert behaviours.main([str(tmp_path / "none.json")]) == 1
    assert "none.json" in capsys.readouterr().err
