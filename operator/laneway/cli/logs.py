"""``kubectl laneway logs``: what the agent of a run writes, across its attempts. Lines go to stdout, words about them to stderr."""

from __future__ import annotations

import asyncio
import re
import sys
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from laneway.api.names import AGENT_CONTAINER, LOG_KEY
from laneway.cli import logplan
from laneway.cli.asking import asked_of
from laneway.cli.door import CommandError, Door
from laneway.cli.following import until
from laneway.cli.logplan import Part
from laneway.cli.why import Asked
from laneway.kube.errors import Forbidden, Invalid, NotFound, Unavailable
from laneway.kube.resources import AGENT_RUNS, CONFIG_MAPS, PODS, JsonObject

_PAUSE_SECONDS = 1.0
_STAMP = re.compile(r"([^.]{19})(?:\.([0-9]+))?(Z|[+-][0-9:]{5})")


@dataclass(frozen=True)
class Wanted:
    """What of the log is wanted."""

    follow: bool = False
    previous: bool = False
    tail: int | None = None
    """Lines at the end of each attempt; None: all."""
    timestamps: bool = False
    attempt: int | None = None


async def logs(door: Door, name: str, wanted: Wanted) -> None:
    """Print the logs of the attempts that were asked for. Raises CommandError, KubeError."""
    obj = await door.get(AGENT_RUNS, name)
    asked = asked_of(obj, door.now)
    try:
        parts = logplan.parts_of(asked, attempt=wanted.attempt, previous=wanted.previous)
    except ValueError as error:
        raise CommandError(str(error)) from error
    if wanted.follow and wanted.attempt is None and not wanted.previous:
        await follow(door, obj, wanted)
        return
    if not parts:
        raise CommandError(
            f"{name} has had no attempt yet; what it waits for: kubectl laneway why {name} -n {door.namespace}"
        )
    for part in parts:
        await _show(door, obj, part, wanted)


async def follow(door: Door, obj: JsonObject, wanted: Wanted) -> JsonObject:
    """Print the log of each attempt as it is written, from the oldest that is kept, until the run has ended; answers the run then.

    Raises CommandError, KubeError.
    """
    said, shown = "", 0
    while True:
        asked = _asked(obj)
        part = logplan.next_part(asked, shown)
        if part is not None:
            await _show(door, obj, part, wanted)
            shown, said = part.number, ""
            obj = await until(door, obj, partial(logplan.has_ended, number=part.number))
            continue
        if logplan.is_over(asked):
            _say(logplan.end(asked))
            return obj
        words = logplan.waits(asked)
        if words and words != said:
            _say(words)
            said = words
        obj = await until(door, obj, partial(_is_news, shown=shown, said=said))


def _is_news(asked: Asked, shown: int, said: str) -> bool:
    words = logplan.waits(asked)
    return logplan.is_over(asked) or logplan.next_part(asked, shown) is not None or bool(words and words != said)


async def _show(door: Door, obj: JsonObject, part: Part, wanted: Wanted) -> None:
    """One attempt: its log, or what became of that."""
    if part.pod is None and wanted.follow and not part.ended:
        obj = await until(door, obj, partial(_has_pod, number=part.number))
        part = logplan.parts_of(_asked(obj), attempt=part.number)[0]
    if part.pod is None:
        _say(f"{part.words} has no pod yet" if not part.ended else f"{part.words} never had a pod")
        return
    _say(f"{part.words}, pod {part.pod}")
    try:
        await _LogReader(door, part.pod, wanted).copy()
    except NotFound:
        if wanted.follow:  # what is kept of the log is written with the end
            obj = await until(door, obj, partial(logplan.has_ended, number=part.number))
        await _show_kept(door, obj, part)
    except Invalid as error:
        _say(f"its agent has not written anything: {error.message}")


async def _show_kept(door: Door, obj: JsonObject, part: Part) -> None:
    """The end of a failed run's log, which is kept when the pod is gone; of another attempt there is nothing."""
    asked = _asked(obj)
    result = asked.status.result
    last = asked.latest is not None and asked.latest.id == part.number
    if result is None or result.log_config_map is None or not last:
        _say("its pod is gone, and its log with it")
        return
    try:
        kept = await door.kube.get(CONFIG_MAPS, door.namespace, result.log_config_map)
    except (NotFound, Forbidden) as error:
        _say(f"its pod is gone, and the end of its log, which was kept, cannot be read: {error.message}")
        return
    _say(f"its pod is gone; this is the end of its log, as ConfigMap {result.log_config_map} keeps it")
    _write(f"{(kept.get('data') or {}).get(LOG_KEY, '')}\n".encode())


class _LogReader:
    """Copies the log of one pod. A stream that breaks is taken up again behind the last line that came."""

    def __init__(self, door: Door, pod: str, wanted: Wanted) -> None:
        self._door = door
        self._pod = pod
        self._wanted = wanted
        self._last = b""
        """Time of the last line, as the kubelet writes it."""
        self._said = ""

    async def copy(self) -> None:
        """All of it, and if it is followed, what comes until its container ends. Raises KubeError."""
        while True:
            try:
                await self._copy_once()
                if not self._wanted.follow or await self._has_ended():
                    return
            except (Unavailable, Invalid) as error:
                if not self._wanted.follow or await self._has_ended():
                    raise
                self._tell(error)
            await asyncio.sleep(_PAUSE_SECONDS)

    def _tell(self, error: Unavailable | Invalid) -> None:
        """Say once why nothing comes, where that is not simply a container that has not started yet."""
        if isinstance(error, Unavailable) and error.message != self._said:
            self._said = error.message
            _say(f"its log cannot be read now, and is tried again: {error.message}")

    async def _copy_once(self) -> None:
        seen = self._last
        lines = self._door.streams.log(
            self._door.namespace,
            self._pod,
            container=AGENT_CONTAINER,
            follow=self._wanted.follow,
            tail_lines=None if seen else self._wanted.tail,
            since=seen.decode() or None,
        )
        async with aclosing(lines):
            async for line in lines:
                stamp, _, words = line.partition(b" ")
                if seen and not _is_later(stamp, seen):
                    continue  # sinceTime counts whole seconds: these have come before
                self._last = stamp
                _write(line if self._wanted.timestamps else words)

    async def _has_ended(self) -> bool:
        """Whether nothing more will be written. Raises NotFound if the pod is gone."""
        try:
            pod = await self._door.kube.get(PODS, self._door.namespace, self._pod)
        except Unavailable:
            return False
        except Forbidden:  # who may read logs need not be one who may read pods
            return True
        return (pod.get("status") or {}).get("phase") in {"Succeeded", "Failed"}


def _is_later(stamp: bytes, last: bytes) -> bool:
    """Times in RFC 3339 with as many digits as they need, up to nanoseconds."""
    return _time(stamp) > _time(last)


def _time(stamp: bytes) -> tuple[datetime, str]:
    seconds, fraction, zone = _STAMP.fullmatch(stamp.decode()).groups()  # type: ignore[union-attr]
    return datetime.fromisoformat(seconds + zone), (fraction or "").ljust(9, "0")


def _has_pod(asked: Asked, number: int) -> bool:
    return logplan.has_ended(asked, number) or any(one.pod for one in asked.status.attempts if one.id == number)


def _asked(obj: JsonObject) -> Asked:
    return asked_of(obj, datetime.now(UTC))


def _write(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def _say(words: str) -> None:
    sys.stderr.write(f"{words}\n")
    sys.stderr.flush()
