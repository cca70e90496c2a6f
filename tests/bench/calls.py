"""P7, P8 and P9: what the gateway adds to a call, frame by frame and at full load. All ways to the mock are up at once and take turns, in an order that turns round."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import doors, machine
from bench.doors import Door
from bench.figures import Figure, Target, at_least, at_most, differences, ratios
from bench.load import FAST, PACED, Answers, Load, Order, Place, load, start_mock
from bench.report import Part
from bench.stand import Stand, build
from integration.operators import free_ports

_ROUNDS = 5
_WARM_CALLS = 50
_AT_ONCE = 16
_STREAMS = 64


@dataclass(frozen=True)
class Setting:
    """Where and how much to measure."""

    kubeconfig: str
    folder: Path
    address: str
    """Of this machine, for the model server."""
    rig: Path
    litellm: Path
    """Its command."""
    full: bool
    profile: Path | None

    def place(self) -> Place:
        """A free one for the model server."""
        [port] = free_ports(1)
        return Place(self.address, port)

    def seconds(self, quick: float) -> float:
        """How long a round loads one way."""
        return 3 * quick if self.full else quick


@dataclass(frozen=True)
class Here:
    """What is up during a benchmark."""

    load: Load
    doors: Sequence[Door]
    run: str
    """The state folder of the control plane."""

    def order(self, door: Door, model: str, **more: float) -> Order:
        """A load for a door."""
        return Order(door.address, door.tokens[model], model, **more)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Turn:
    """One load of one door in one round."""

    answers: Answers
    cpu_seconds: float
    """Of the program at the door; 0 where there is none."""

    @property
    def frame_microseconds(self) -> float:
        """CPU of the program for a frame."""
        return 1e6 * self.cpu_seconds / self.answers.frames

    @property
    def answer_microseconds(self) -> float:
        """CPU of the program for an answer."""
        return 1e6 * self.cpu_seconds / self.answers.answers


Turns = dict[str, list[Turn]]
"""By door, one for each round."""


async def first_token(setting: Setting) -> Part:
    """P7: one connection, one stream after the other."""
    async with _up(setting, "direct", "gateway", "bare aiohttp") as here:
        turns, others = _rounds(
            here, lambda door: here.order(door, FAST, stream=True, connections=1, seconds=setting.seconds(2))
        )
    figures = []
    for percent, limit in ((50, 0.6), (99, 1.5)):
        found = {name: _first(rounds, percent) for name, rounds in turns.items()}
        direct = found.pop("direct")
        figures.append(Figure("P7", f"first token, direct: p{percent}", "ms", direct))
        for name, values in found.items():
            target = at_most(limit, compared=True) if name == "gateway" else None
            figures.append(Figure("P7", f"added by the {name}: p{percent}", "ms", differences(values, direct), target))
    fewest = min(len(turn.answers.first) for turn in turns["gateway"])
    words = f"P7: streams one after the other over one connection, at least {fewest:,} a round through the gateway."
    return Part(words, tuple(figures), others)


async def paced(setting: Setting) -> Part:
    """P8: many streams at once, each with a frame every 20 ms."""
    async with _up(setting, "direct", "gateway") as here:
        turns, others = _rounds(
            here, lambda door: here.order(door, PACED, stream=True, connections=_STREAMS, seconds=setting.seconds(3))
        )
    ours, straight = turns["gateway"], turns["direct"]
    broken = tuple(float(turn.answers.broken) for turn in ours)
    added = differences(_gaps(ours, 99), _gaps(straight, 99))
    frames = tuple(turn.frame_microseconds for turn in ours)
    return Part(
        f"P8: {_STREAMS} streams at once, a frame every 20 ms, {ours[0].answers.frames:,} frames in the first round.",
        (
            Figure("P8", "streams that lack a frame or their end", "", broken, at_most(0, counted=True)),
            Figure("P8", "gap between frames, direct: p99", "ms", _gaps(straight, 99)),
            Figure("P8", "added to it by the gateway: p99", "ms", added, at_most(0.5, compared=True)),
            Figure("P8", "CPU of the gateway for a frame", "us", frames, at_most(80)),
        ),
        others,
    )


async def throughput(setting: Setting) -> Part:
    """P9: whole answers, as many as go through."""
    async with _up(setting, "direct", "gateway", "bare aiohttp", "LiteLLM") as here:
        turns, others = _rounds(
            here, lambda door: here.order(door, FAST, connections=_AT_ONCE, seconds=setting.seconds(2))
        )
    rates = {name: tuple(turn.answers.rate for turn in rounds) for name, rounds in turns.items()}
    targets: dict[str, Target] = {
        "LiteLLM": at_least(35, compared=True),
        "bare aiohttp": at_least(0.7, compared=True),
    }
    costs = {
        name: tuple(turn.answer_microseconds for turn in rounds) for name, rounds in turns.items() if name != "direct"
    }
    return Part(
        f"P9: {_AT_ONCE} connections, 2 KB of prompt, whole answers.",
        (
            *(Figure("P9", f"answers, {name}", "1/s", values) for name, values in rates.items()),
            *(
                Figure("P9", f"gateway over {name}, same round", "x", ratios(rates["gateway"], rates[name]), target)
                for name, target in targets.items()
            ),
            *(Figure("P9", f"CPU for an answer, {name}", "us", values) for name, values in costs.items()),
            Figure(
                "P9",
                "bare aiohttp over gateway, CPU for an answer",
                "x",
                ratios(costs["bare aiohttp"], costs["gateway"]),
            ),
        ),
        others,
    )


@asynccontextmanager
async def _up(setting: Setting, *names: str) -> AsyncGenerator[Here]:
    """The mock, the load, and the ways between them."""
    place = setting.place()
    stand = await build(setting.kubeconfig, setting.folder, server=f"http://{place}")
    mock = await start_mock(setting.rig, place, stand.folder / "mock.log")
    opened: list[Door] = []
    try:
        for name in names:
            door = await _open(name, setting, stand, place)
            opened.append(door)
        with load(setting.rig) as running:
            here = Here(running, opened, str(Path(setting.kubeconfig).parents[1]))
            for door in opened:
                for model, stream in ((FAST, False), (FAST, True)):
                    running.send(here.order(door, model, stream=stream, connections=4, calls=_WARM_CALLS))
            yield here
    finally:
        for door in opened:
            if door.program is not None:
                door.program.stop()
        mock.stop()


async def _open(name: str, setting: Setting, stand: Stand, place: Place) -> Door:
    match name:
        case "gateway":
            profile = setting.profile / f"{stand.namespace}.prof" if setting.profile else None
            return await doors.gateway(stand, profile=profile)
        case "bare aiohttp":
            return await doors.bare(place, stand.folder)
        case "LiteLLM":
            return await doors.litellm(place, stand.folder, setting.litellm)
        case _:
            return doors.straight(place)


def _rounds(here: Here, order: Callable[[Door], Order]) -> tuple[Turns, tuple[float, ...]]:
    """The load of each door in each round, and the percent of the machine that others used, by round."""
    turns: Turns = {door.name: [] for door in here.doors}
    others = []
    for number in range(_ROUNDS):
        watch = machine.Others(here.run)
        for door in here.doors if number % 2 == 0 else reversed(here.doors):
            turns[door.name].append(_turn(here, door, order(door)))
        others.append(watch.share())
        rates = ", ".join(f"{name} {rounds[-1].answers.rate:.0f}/s" for name, rounds in turns.items())
        print(f"  {rates}, others {others[-1]:.0f} %", flush=True)
    return turns, tuple(others)


def _turn(here: Here, door: Door, order: Order) -> Turn:
    before = _cpu(door)
    answers = here.load.send(order)
    return Turn(answers, _cpu(door) - before)


def _cpu(door: Door) -> float:
    return machine.cpu_seconds(door.program.pid) if door.program else 0.0


def _first(rounds: Sequence[Turn], percent: float) -> tuple[float, ...]:
    return tuple(turn.answers.first_milliseconds(percent) for turn in rounds)


def _gaps(rounds: Sequence[Turn], percent: float) -> tuple[float, ...]:
    return tuple(turn.answers.gap_milliseconds(percent) for turn in rounds)
