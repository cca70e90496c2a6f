"""What the tree must look like so that it works at all."""

from __future__ import annotations

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
