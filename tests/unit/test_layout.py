"""What the tree must look like so that it works at all."""

from __future__ import annotations

import ast
import operator
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_source_root_is_no_package_because_it_would_hide_the_standard_library_s_operator() -> None:
    assert (ROOT / "operator" / "laneway" / "__init__.py").is_file()
    assert not (ROOT / "operator" / "__init__.py").exists()
    assert operator.add(1, 2) == 3


def test_only_settings_reads_the_environment() -> None:
    package = ROOT / "operator" / "laneway"
    readers = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if any(word in path.read_text(encoding="utf-8") for word in ("os.environ", "os.getenv"))
    }
    assert readers == {"settings.py"}


def test_every_room_says_what_it_is_for() -> None:
    package = ROOT / "operator" / "laneway"
    rooms = [*(package / "controller").rglob("__init__.py"), *(package / "gateway").rglob("__init__.py")]
    assert len(rooms) > 20
    assert not [room for room in rooms if not ast.get_docstring(ast.parse(room.read_text(encoding="utf-8")))]
