"""Logs: a constant message and keys, one JSON object a line or text."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime

from laneway.settings import LogSettings

_QUOTING_MODULE = "aiohttp.http_exceptions"
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonLines(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record; keys given by ``extra`` stand beside the message."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_extra(record),
        }
        if record.exc_info:
            line["error"] = _trace(self, record.exc_info[1])
        return json.dumps(line, default=str)


class TextLines(logging.Formatter):
    """Time, level, message, key=value."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        keys = "".join(f" {name}={value}" for name, value in _extra(record).items())
        time = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S")
        error = f"\n{_trace(self, record.exc_info[1])}" if record.exc_info else ""
        return f"{time} {record.levelname.lower():7} {record.getMessage()}{keys}{error}"


def setup(settings: LogSettings) -> None:
    """Send all logs to standard error in the wanted form. kopf and aiohttp's access log speak only of warnings."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines() if settings.json else TextLines())
    logging.basicConfig(level=settings.level.upper(), handlers=[handler], force=True)
    for noisy in ("kopf", "aiohttp.access", "httpx", "httpcore"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def _trace(formatter: logging.Formatter, error: BaseException | None) -> str:
    """An error with its traceback; of one that quotes what a peer sent (a token may stand there) its name alone."""
    if error is None:
        return ""
    if any(type(each).__module__ == _QUOTING_MODULE for each in _chain(error)):
        return f"{type(error).__name__}; what was received is not logged"
    return formatter.formatException((type(error), error, error.__traceback__))


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    left: list[BaseException | None] = [error]
    while left:
        each = left.pop()
        if each is not None and id(each) not in seen:
            seen.add(id(each))
            yield each
            left += [each.__cause__, each.__context__]


def _extra(record: logging.LogRecord) -> dict[str, object]:
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}
