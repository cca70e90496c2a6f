"""Pages that commands write their results into."""

from __future__ import annotations

from pathlib import Path


def record(page: Path, mark: str, text: str) -> None:
    """Write a text between ``<!-- mark -->`` and ``<!-- /mark -->``. Raises ValueError if they are not there."""
    first, last = f"<!-- {mark} -->", f"<!-- /{mark} -->"
    before, begin, rest = page.read_text().partition(first)
    _, end, after = rest.partition(last)
    if not begin or not end:
        raise ValueError(f"{page.name} must have {first} and {last}")
    page.write_text(f"{before}{begin}\n{text}\n{end}{after}")
