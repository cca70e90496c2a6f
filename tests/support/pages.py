"""Pages that commands write their results into."""

from __future__ import annotations

from pathlib import Path


def recorded(page: Path, mark: str) -> str:
    """What stands between the marks. Raises ValueError if they are not there."""
    return _parts(page, mark)[1]


def record(page: Path, mark: str, text: str) -> None:
    """Write a text between ``<!-- mark -->`` and ``<!-- /mark -->``. Raises ValueError if they are not there."""
    before, _, after = _parts(page, mark)
    page.write_text(f"{before}<!-- {mark} -->\n{text}\n<!-- /{mark} -->{after}")


def _parts(page: Path, mark: str) -> tuple[str, str, str]:
    first, last = f"<!-- {mark} -->", f"<!-- /{mark} -->"
    before, begin, rest = page.read_text().partition(first)
    between, end, after = rest.partition(last)
    if not begin or not end:
        raise ValueError(f"{page.name} must have {first} and {last}")
    return before, between, after
