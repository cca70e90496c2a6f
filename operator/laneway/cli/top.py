"""``kubectl laneway top``: lanes and runs on one screen, drawn again as they change. It watches, and lists once."""

from __future__ import annotations

import asyncio
import logging
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from laneway.cli.door import CommandError, Door
from laneway.cli.listing import named
from laneway.cli.screen import Sight, fitted, lines_of
from laneway.kube.resources import AGENT_RUNS, MODEL_LANES, JsonObject, Key, Resource, key_of
from laneway.kube.watch import mirror

_BEGIN, _END = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
"""Another screen without a cursor, and back to the one before."""
_HOME, _LINE_END, _BELOW = "\x1b[H", "\x1b[K\n", "\x1b[J"
_SILENT_SECONDS = 90
"""A watch is heard of about once a minute on an idle cluster."""


async def top(door: Door, *, everywhere: bool, selector: str | None, once: bool, every: float) -> None:
    """Draw until interrupted, or once. Raises CommandError, KubeError."""
    namespace = None if everywhere else door.namespace
    if once:
        lanes, runs = [
            (await door.kube.list(one, namespace=namespace, label_selector=_selector(one, selector))).items
            for one in (MODEL_LANES, AGENT_RUNS)
        ]
        sys.stdout.write(
            "".join(f"{line}\n" for line in lines_of(_sight(lanes, runs, namespace), colours=door.colours))
        )
        return
    if not sys.stdout.isatty():
        raise CommandError("top draws on a terminal; --once prints one screen")
    for one in (MODEL_LANES, AGENT_RUNS):  # what may not be read is said before anything is drawn
        await anext(door.kube.pages(one, namespace=namespace))
    await _watched(door, namespace, selector, every)


@dataclass
class _Known:
    """The objects of one resource, as a watch tells them."""

    objects: dict[Key, JsonObject] = field(default_factory=dict)
    heard: float = field(default_factory=time.monotonic)
    listed: asyncio.Event = field(default_factory=asyncio.Event)

    def list(self, items: list[JsonObject]) -> None:
        self.objects = {key_of(item): item for item in items}
        self.listed.set()

    def take(self, kind: str, obj: JsonObject) -> None:
        if kind == "DELETED":
            self.objects.pop(key_of(obj), None)
        else:
            self.objects[key_of(obj)] = obj

    def hear(self, moment: float) -> None:
        self.heard = moment


async def _watched(door: Door, namespace: str | None, selector: str | None, every: float) -> None:
    logging.disable(logging.CRITICAL)  # lines of a log would tear the screen; that nothing is heard is said on it
    known = {MODEL_LANES: _Known(), AGENT_RUNS: _Known()}
    with _screen():
        async with asyncio.TaskGroup() as group:
            for resource, one in known.items():
                group.create_task(
                    mirror(
                        door.kube,
                        resource,
                        namespaces=[namespace] if namespace else [],
                        label_selector=_selector(resource, selector),
                        on_list=one.list,
                        on_event=one.take,
                        on_contact=one.hear,
                    )
                )
            group.create_task(_draw(door, known, namespace, every))


async def _draw(door: Door, known: dict[Resource, _Known], namespace: str | None, every: float) -> None:
    for one in known.values():
        await one.listed.wait()
    while True:
        silent = int(time.monotonic() - min(one.heard for one in known.values()))
        lanes, runs = (list(known[one].objects.values()) for one in (MODEL_LANES, AGENT_RUNS))
        sight = _sight(lanes, runs, namespace, silent=silent if silent > _SILENT_SECONDS else 0)
        size = shutil.get_terminal_size()
        lines = fitted(lines_of(sight, colours=door.colours), columns=size.columns, rows=size.lines)
        sys.stdout.write(f"{_HOME}{_LINE_END.join(lines)}\x1b[K{_BELOW}")
        sys.stdout.flush()
        await asyncio.sleep(every)


def _sight(lanes: list[JsonObject], runs: list[JsonObject], namespace: str | None, *, silent: int = 0) -> Sight:
    return Sight([named(obj) for obj in lanes], runs, datetime.now(UTC), namespace or "", silent)


def _selector(resource: Resource, selector: str | None) -> str | None:
    """Labels are those of runs: lanes are shown all."""
    return selector if resource is AGENT_RUNS else None


@contextmanager
def _screen() -> Iterator[None]:
    sys.stdout.write(_BEGIN)
    try:
        yield
    finally:
        sys.stdout.write(_END)
        sys.stdout.flush()
