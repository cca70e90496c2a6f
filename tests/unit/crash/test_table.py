"""The table of the trials says how many there were and what they found."""

from __future__ import annotations

from pathlib import Path

from crash.table import Result, Table

WELL = Result("killed", 1, None, ())
OVER = Result("killed", 0, None, ())
BAD = Result("killed", 1, None, ("a pod more",))


def test_trials_that_met_no_fault_are_counted_apart() -> None:
    lines = Table("a machine", 1, (WELL, OVER, BAD), 2).markdown().splitlines()
    assert "3 trials in the order of seed 1; the time was too short for 2 more." in lines[0]
    assert lines[1].startswith("1 of them met no fault")
    assert lines[-2] == "| killed | 2 | 2 | 0 | 0 | 1 |"
    assert lines[-1] == "| all | 2 | 2 | 0 | 0 | 1 |"


def test_it_is_well_only_if_every_trial_was_and_there_was_one() -> None:
    assert Table("a machine", 1, (WELL, OVER), 0).is_well
    assert not Table("a machine", 1, (WELL, BAD), 0).is_well
    assert not Table("a machine", 1, (), 0).is_well


def test_it_is_written_between_its_marks_alone(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- crash -->\nold\n<!-- /crash -->\nafter\n")
    table = Table("a machine", 1, (WELL,), 0)
    table.record(page)
    assert page.read_text() == f"before\n<!-- crash -->\n{table.markdown()}\n<!-- /crash -->\nafter\n"
