"""The summary inside an answer."""

from __future__ import annotations

import re

_SUMMARY_HEADING = re.compile(r"##[ \t]+summary[ \t]*:?[ \t\r]*$", re.IGNORECASE)
_HEADING = re.compile(r"#{1,2}[ \t]")
_FENCE = re.compile(r"[ ]{0,3}(```|~~~)")


def summary_of(text: str) -> str:
    """The section under the last ``## Summary`` heading; the whole text where there is none, or where it is empty (S0.21)."""
    section: list[str] | None = None
    fenced = False
    for line in text.split("\n"):
        if _FENCE.match(line):
            fenced = not fenced
        if not fenced and _SUMMARY_HEADING.match(line):
            section, open_section = [], True
        elif section is not None and open_section:
            open_section = fenced or not _HEADING.match(line)
            if open_section:
                section.append(line)
    return "\n".join(section or []).strip() or text.strip()
