"""How attempts ended: read once from all runs, then noted pass by pass."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from laneway.api.reasons import Cause, Outcome, ResetSource
from laneway.api.runstatus import AgentRunStatus, Attempt, Trouble
from laneway.controller.memory.outcomes import TROUBLES_KEPT, Outcomes
from laneway.controller.memory.world import World, make_cache
from laneway.kube.resources import AGENT_RUNS, JsonObject, Key
from support.builders import at, attempt, condition
from support.objects import raw_run

LANE, MODEL = Key("team-a", "local"), "smollm2"


def failed(number: int, seconds: float, **changes: Any) -> Attempt:
    trouble = Trouble(sent_time=at(seconds), seen_time=at(seconds), status=503, **changes)
    return attempt(number, outcome=Outcome.MODEL_TROUBLE, cause=Cause.API_TRANSIENT, trouble=trouble)


def succeeded(number: int, seconds: float) -> Attempt:
    return attempt(number, outcome=Outcome.SUCCEEDED, start_time=at(seconds))


def ended(name: str, *attempts: Attempt) -> JsonObject:
    """A run that has ended after these attempts."""
    return raw_run(
        name, status=AgentRunStatus(conditions=(condition("Finished", "True", "Failed"),), attempts=attempts)
    )


def test_the_past_is_read_from_finished_runs_too() -> None:
    known = Outcomes([ended("a", failed(1, 20), failed(2, 50)), ended("b", failed(1, 30)), raw_run("c")])
    assert [one.seen for one in known.troubles(LANE)[MODEL]] == [at(20), at(30), at(50)]
    assert known.troubles(Key("team-a", "other")) == {}


async def test_the_past_is_read_a_few_runs_at_a_time() -> None:
    """The Lease is renewed meanwhile."""
    world = World(make_cache(), on_change=lambda change: None)
    for number in range(200):
        world.cache.put(AGENT_RUNS, ended(f"run-{number}", succeeded(1, number)))
    reading, turns = asyncio.create_task(world.read_outcomes()), 0
    while not reading.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns >= 4
    assert world.outcomes.successes(LANE) == {MODEL: at(199)}


def test_all_that_the_failure_said_is_kept() -> None:
    said = failed(1, 20, reset_time=at(60), reset_source=ResetSource.RETRY_AFTER, elsewhere=True)
    (one,) = Outcomes([ended("a", said)]).troubles(LANE)[MODEL]
    assert (one.cause, one.status, one.reset, one.source, one.elsewhere) == (
        Cause.API_TRANSIENT,
        503,
        at(60),
        ResetSource.RETRY_AFTER,
        True,
    )


def test_only_what_is_new_wakes_a_lane() -> None:
    known = Outcomes([])
    run = ended("a", failed(1, 20))
    assert known.note(run) == {LANE}
    assert known.note(run) == set()
    assert known.note(ended("a", failed(1, 20), failed(2, 60))) == {LANE}
    assert known.note(raw_run("b", status=AgentRunStatus(attempts=(attempt(1),)))) == set()


def test_the_latest_success_is_kept_by_its_beginning() -> None:
    known = Outcomes([ended("a", succeeded(1, 40)), ended("b", succeeded(1, 20))])
    assert known.successes(LANE) == {MODEL: at(40)}
    assert known.note(ended("c", succeeded(1, 30))) == set()
    assert known.note(ended("d", succeeded(1, 50))) == {LANE}


def test_of_a_storm_the_latest_failures_are_kept() -> None:
    known = Outcomes([ended(f"r{n}", failed(1, n)) for n in range(TROUBLES_KEPT + 5)])
    kept = known.troubles(LANE)[MODEL]
    assert (len(kept), kept[-1].seen - kept[0].seen) == (TROUBLES_KEPT, timedelta(seconds=TROUBLES_KEPT - 1))


def test_a_run_of_another_version_is_no_past() -> None:
    odd = raw_run()
    odd["status"] = {"attempts": [{"outcome": "Succeeded", "id": 1}, {"outcome": "Odd"}]}
    assert Outcomes([odd]).successes(LANE) == {}
