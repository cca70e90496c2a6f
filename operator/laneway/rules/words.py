"""Words of errors, all in one place. They count last: where there is no status, no error type and no code (C1).

The first lists name the cause of a failed call. Those about keys and networks are only hints for people: an agent whose task is about logins
or servers uses the same words, so nothing is retried, moved or stopped for them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

QUOTA = re.compile(
    r"(you have reached your specified api usage limits|(your )?credit balance is too low|you exceeded your current quota"
    r"|insufficient (quota|credits?|balance))\b",
    re.IGNORECASE,
)
"""Only as the first words: further on a server may quote a prompt."""
CONTEXT = re.compile(
    r"context (length|window|size)|maximum context|prompt is too long|input (length|is too long)|too many tokens",
    re.IGNORECASE,
)
MODEL = re.compile(r"\bmodels?\b", re.IGNORECASE)
RATE = re.compile(
    r"\brate[ _-]?limit|\btoo many requests|\boverloaded|(?<![\w.,])(429|529)(?!\w|[.,]\d)", re.IGNORECASE
)

_WRONG_KEY = {
    "oauth": r"\boauth\b",
    "unauthorized": r"\bunauthorized\b",
    "401": r"(?<![\w.,])401(?!\w|[.,]\d)",
    "api key": r"\bapi[ _]key\b",
    "authentication failed": r"\bauth(entication)?[\W_]+(failed|error|expired)\b",
    "session expired": r"\bsession\b[^\n]{0,80}\bexpired\b",
}
"""Row S3.37."""
_NETWORK = {
    "connection refused": r"\bconnection refused\b",
    "econnrefused": r"\beconnrefused\b",
    "dns": r"\bdns\b",
    "name or service not known": r"\bname or service not known\b",
    "connection timed out": r"\bconnect(ion)? timed out\b",
    "nodename nor servname": r"\bnodename nor servname\b",
    "network unreachable": r"\bnetwork (is )?unreachable\b",
    "connection reset": r"\bconnection reset\b",
    "server unavailable": r"(?<![\w.,])50[023]\b[^\n]{0,30}\b(service unavailable|bad gateway|gateway timeout)\b",
}
"""Row S3.38."""


def _compiled(words: Mapping[str, str]) -> dict[str, re.Pattern[str]]:
    return {name: re.compile(pattern, re.IGNORECASE) for name, pattern in words.items()}


_WRONG_KEY_WORDS, _NETWORK_WORDS = _compiled(_WRONG_KEY), _compiled(_NETWORK)


def find_wrong_key(text: str) -> str | None:
    """The first words in a failure that are those of a refused key, by a name of ours and never as they stand there (S3.37)."""
    return _first(_WRONG_KEY_WORDS, text)


def find_network_trouble(text: str) -> str | None:
    """The same of a network that failed (S3.38)."""
    return _first(_NETWORK_WORDS, text)


def _first(words: Mapping[str, re.Pattern[str]], text: str) -> str | None:
    return next((name for name, pattern in words.items() if pattern.search(text)), None)
