"""Logs: a constant message and keys, one JSON object a line or text. What libraries, warnings and unhandled errors say comes in the same form."""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from types import TracebackType

from laneway.settings import LogSettings

log = logging.getLogger(__name__)

_QUOTING_MODULE = "aiohttp.http_exceptions"
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonLines(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record; keys given by ``extra`` stand beside the message, and cannot take the place of ours."""
        own: dict[str, object] = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _message(record),
        }
        if record.exc_info:
            own["error"] = _trace(self, record.exc_info[1])
        return _dumped({**own, **_extra(record), **own})


class TextLines(logging.Formatter):
    """Time, level, message, key=value."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        keys = "".join(f" {name}={value}" for name, value in _extra(record).items())
        time = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S")
        error = f"\n{_trace(self, record.exc_info[1])}" if record.exc_info else ""
        return f"{time} {record.levelname.lower():7} {_message(record)}{keys}{error}"


def setup(settings: LogSettings) -> None:
    """Send all logs to standard error in the wanted form. kopf and aiohttp's access log speak only of warnings."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines() if settings.json else TextLines())
    logging.basicConfig(level=settings.level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(True)
    sys.excepthook = _on_unhandled
    threading.excepthook = _on_unhandled_in_thread
    sys.unraisablehook = _on_unraisable
    for noisy in ("kopf", "aiohttp.access", "httpx", "httpcore"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def _on_unhandled(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    log.critical("unhandled error", exc_info=(kind, error, trace))


def _on_unhandled_in_thread(args: threading.ExceptHookArgs) -> None:
    error = args.exc_value or args.exc_type()
    name = args.thread.name if args.thread else None
    log.critical("unhandled error", exc_info=(args.exc_type, error, args.exc_traceback), extra={"in_thread": name})


def _on_unraisable(args: sys.UnraisableHookArgs) -> None:
    error = args.exc_value or args.exc_type()
    log.error("error that cannot be raised", exc_info=(args.exc_type, error, args.exc_traceback))


def _message(record: logging.LogRecord) -> str:
    """A library's words as they are if they do not fit its arguments: logging itself would print a traceback."""
    try:
        return record.getMessage()
    except (TypeError, ValueError, KeyError):
        return str(record.msg)


def _dumped(line: dict[str, object]) -> str:
    try:
        return json.dumps(line, default=str, allow_nan=False)
    except (TypeError, ValueError):  # keys that are no text, a circle, not a number
        return json.dumps({key: value if isinstance(value, str) else str(value) for key, value in line.items()})


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
