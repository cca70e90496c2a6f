"""Events are posted behind the passes: in order for each object, again if they fail, and never without bounds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from laneway.controller import metrics
from laneway.controller.outside import telling
from laneway.controller.outside.telling import LONGEST_PAUSE, PAUSES, Teller
from laneway.kube.errors import AlreadyExists, Conflict, Forbidden, Invalid, KubeError, NotFound, NotLeader, Unavailable
from laneway.kube.resources import JsonObject, Resource

NO_ANSWER = Unavailable("no answer from the API server")
TOO_MANY = Unavailable("too many requests", status=429, retry_after=3)
MUCH_TOO_MANY = Unavailable("too many requests", status=429, retry_after=600)


class Posts:
    """An API server that answers posts of Events by a script; after its end, and for names beyond it, with success."""

    def __init__(self, **answers: list[KubeError]) -> None:
        self.answers = answers
        self.tried: list[str] = []
        self.posted: list[str] = []
        self.at_once = self.most = 0
        self.open = asyncio.Event()
        self.open.set()

    async def create(self, resource: Resource, namespace: str, body: JsonObject) -> JsonObject:
        assert (resource.plural, namespace) == ("events", "team-a")
        name = body["metadata"]["name"]
        self.tried.append(name)
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        await self.open.wait()
        self.at_once -= 1
        if self.answers.get(name):
            raise self.answers[name].pop(0)
        self.posted.append(name)
        return body


class Pauses:
    """Time that passes at once; what happens during a pause is the test's choice."""

    def __init__(self) -> None:
        self.taken: list[float] = []
        self.meanwhile: Callable[[], None] = lambda: None

    async def __call__(self, seconds: float) -> None:
        self.taken.append(seconds)
        self.meanwhile()
        await asyncio.sleep(0)


def event(name: str, about: str = "hello") -> JsonObject:
    return {"metadata": {"name": name, "namespace": "team-a"}, "regarding": {"uid": about}, "reason": "RunFinished"}


def teller(posts: Posts) -> tuple[Teller, Pauses]:
    pauses, kube = Pauses(), posts  # only ``create`` is asked for
    made: Any = kube
    return Teller(made, pauses), pauses


async def test_one_that_fails_is_tried_again_and_those_after_it_wait() -> None:
    posts = Posts(a=[Conflict("a race was lost", status=409), Unavailable("broken", status=500)])
    told, pauses = teller(posts)
    for name in ("a", "b", "c"):
        told.tell(event(name))
    await told.all_told()
    assert posts.tried == ["a", "a", "a", "b", "c"]
    assert posts.posted == ["a", "b", "c"]
    assert pauses.taken == [1.0, 2.0]


async def test_other_objects_do_not_wait_for_it() -> None:
    posts = Posts(a=[NO_ANSWER])
    told, pauses = teller(posts)
    pauses.meanwhile = lambda: told.tell(event("c", about="third"))
    told.tell(event("a"))
    told.tell(event("b", about="other"))
    await told.all_told()
    assert posts.posted.index("b") < posts.posted.index("a")
    assert set(posts.posted) == {"a", "b", "c"}


async def test_one_whose_answer_was_lost_is_posted_once() -> None:
    posts = Posts(a=[NO_ANSWER, AlreadyExists("a already exists", status=409)])
    told, _ = teller(posts)
    told.tell(event("a"))
    told.tell(event("b"))
    await told.all_told()
    assert posts.tried == ["a", "a", "b"]


@pytest.mark.parametrize(
    ("error", "pause"),
    [
        pytest.param(TOO_MANY, 3.0, id="the server names a longer pause"),
        pytest.param(MUCH_TOO_MANY, LONGEST_PAUSE, id="the server names a pause that is too long"),
        pytest.param(NO_ANSWER, PAUSES[0], id="it names none"),
    ],
)
async def test_the_pause_is_the_servers_within_bounds(error: KubeError, pause: float) -> None:
    told, pauses = teller(Posts(a=[error]))
    told.tell(event("a"))
    await told.all_told()
    assert pauses.taken == [pause]


async def test_after_its_last_try_it_is_dropped_and_the_next_one_has_all_its_own(
    caplog: pytest.LogCaptureFixture,
) -> None:
    tries = len(PAUSES) + 1
    posts = Posts(a=[NO_ANSWER] * (tries + 5), b=[NO_ANSWER])
    told, pauses = teller(posts)
    told.tell(event("a"))
    told.tell(event("b"))
    await told.all_told()
    assert posts.tried == ["a"] * tries + ["b", "b"]
    assert pauses.taken == [*PAUSES, PAUSES[0]]
    assert [record.message for record in caplog.records] == ["an Event was not posted"]


@pytest.mark.parametrize(
    "error",
    [Forbidden("no"), Invalid("no"), NotFound("no"), NotLeader("no")],
    ids=lambda one: type(one).__name__,
)
async def test_one_that_would_be_refused_again_is_not_tried_again(error: KubeError) -> None:
    posts = Posts(a=[error])
    told, pauses = teller(posts)
    told.tell(event("a"))
    told.tell(event("b"))
    await told.all_told()
    assert posts.tried == ["a", "b"]
    assert pauses.taken == []


async def test_telling_never_waits_and_what_is_over_the_bound_is_dropped(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(telling, "MOST_WAITING", 30)
    posts = Posts()
    posts.open.clear()
    told, _ = teller(posts)
    for number in range(40):
        told.tell(event(f"e{number}", about=f"object-{number % 20}"))
    await asyncio.sleep(0)
    assert metrics.EVENTS_WAITING._value.get() == 30
    assert len(caplog.records) == 10
    posts.open.set()
    await told.all_told()
    assert sorted(posts.posted) == sorted(f"e{number}" for number in range(30))
    assert posts.most == 8
    assert metrics.EVENTS_WAITING._value.get() == 0
    told.tell(event("later"))
    await told.all_told()
    assert posts.posted[-1] == "later"
