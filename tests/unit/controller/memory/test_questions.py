"""Questions on their way to classifiers: put once, a few at a time, beside everything else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from laneway.api.classification import Complexity
from laneway.controller.decision.effects import Classify
from laneway.controller.facts.views import Answer
from laneway.controller.memory.questions import AT_ONCE, Questions
from laneway.kube.resources import Key

LANE = ("models", "hosted")
GOOD = Answer(LANE, Complexity.SIMPLE, "short")


def question(uid: str = "u", lane: tuple[str, str] = LANE) -> Classify:
    return Classify(uid, lane, "text")


def run(uid: str = "u") -> Key:
    return Key("team-a", uid)


class Gateway:
    """Answers when told; notes whom it was asked about."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answers: asyncio.Queue[Answer | None] = asyncio.Queue()

    async def put(self, question: Classify) -> Answer | None:
        self.asked.append(question.run_uid)
        return await self.answers.get()


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


@pytest.fixture
async def questions(gateway: Gateway) -> AsyncIterator[Questions]:
    made = Questions(gateway.put, again_seconds=0)
    yield made
    await made.close()


async def passes() -> None:
    """Let everything that can go on go on."""
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.mark.row("S0.18")
async def test_nobody_waits_for_the_answer_and_the_run_is_woken_by_it(gateway: Gateway, questions: Questions) -> None:
    woken: list[Key] = []
    questions.on_answer = woken.append
    questions.ask(question(), run())
    await passes()
    assert (gateway.asked, questions.answer_to("u"), woken) == (["u"], None, [])
    gateway.answers.put_nowait(GOOD)
    await passes()
    assert (questions.answer_to("u"), woken) == (GOOD, [run()])


async def test_a_question_is_put_once_however_often_a_pass_asks(gateway: Gateway, questions: Questions) -> None:
    for _ in range(3):
        questions.ask(question(), run())
        await passes()
    gateway.answers.put_nowait(GOOD)
    await passes()
    questions.ask(question(), run())
    await passes()
    assert gateway.asked == ["u"]


async def test_while_the_gateway_is_away_the_run_is_woken_and_asks_again(
    gateway: Gateway, questions: Questions
) -> None:
    questions.on_answer = lambda woken: questions.ask(question(), woken)
    questions.ask(question(), run())
    gateway.answers.put_nowait(None)
    gateway.answers.put_nowait(GOOD)
    await passes()
    assert (gateway.asked, questions.answer_to("u")) == (["u", "u"], GOOD)


async def test_few_runs_of_a_lane_are_asked_about_at_once_and_other_lanes_do_not_wait(
    gateway: Gateway, questions: Questions
) -> None:
    for number in range(AT_ONCE + 1):
        questions.ask(question(str(number)), run(str(number)))
    questions.ask(question("other", ("models", "other")), run("other"))
    await passes()
    assert gateway.asked == [*map(str, range(AT_ONCE)), "other"]
    gateway.answers.put_nowait(GOOD)
    await passes()
    assert gateway.asked[-1] == str(AT_ONCE)


async def test_a_run_that_needs_no_answer_any_more_is_forgotten(gateway: Gateway, questions: Questions) -> None:
    woken: list[Key] = []
    questions.on_answer = woken.append
    questions.ask(question(), run())
    await passes()
    questions.forget("u")
    gateway.answers.put_nowait(GOOD)
    await passes()
    assert (questions.answer_to("u"), woken) == (None, [])
    questions.ask(question(), run())
    await passes()
    assert (gateway.asked, questions.answer_to("u")) == (["u", "u"], GOOD)


async def test_another_lane_is_asked_although_the_one_before_has_answered(
    gateway: Gateway, questions: Questions
) -> None:
    """The first lane lost its classifier meanwhile, so its answer was of no use."""
    questions.ask(question(), run())
    gateway.answers.put_nowait(GOOD)
    await passes()
    other = Answer(("models", "other"), Complexity.COMPLEX, "long")
    questions.ask(question(lane=other.lane), run())
    gateway.answers.put_nowait(other)
    await passes()
    assert (gateway.asked, questions.answer_to("u")) == (["u", "u"], other)


async def test_an_error_of_ours_is_logged_and_the_run_asks_again(caplog: pytest.LogCaptureFixture) -> None:
    answers: list[Answer | None] = [GOOD]

    async def broken_once(asked: Classify) -> Answer | None:
        if "an error of ours" not in caplog.text:
            raise ValueError("ours")
        return answers.pop()

    questions = Questions(broken_once, again_seconds=0)
    questions.on_answer = lambda woken: questions.ask(question(), woken)
    questions.ask(question(), run())
    await passes()
    assert caplog.text.count("an error of ours") == 1
    assert questions.answer_to("u") == GOOD
