"""The demo on a real node: Helm, a real Ollama with a real model, one agent run, and what a new user sees of it."""

from __future__ import annotations

import asyncio
import re

import pytest

from e2e.commands import kubectl, kubectl_json
from e2e.conftest import Demo, run_demo
from e2e.release import ledger_rows
from e2e.stage import condition, is_true
from laneway.kube.resources import JsonObject

HELLO = ("agentrun", "hello", "--namespace=default")


@pytest.fixture(scope="module")
def hello(demo: Demo) -> JsonObject:
    return dict(kubectl_json("get", *HELLO))


@pytest.mark.row("S0.11", "S0.23")
def test_the_quickstart_succeeds_with_tokens_counted_by_the_gateway(hello: JsonObject) -> None:
    assert (condition(hello, "Finished")["reason"], is_true(hello, "Succeeded")) == ("Completed", True)
    usage = hello["status"]["usage"]
    assert (usage["source"], usage["complete"], usage["turns"]) == ("Gateway", True, 1)
    assert usage["inputTokens"] > 0
    assert usage["outputTokens"] > 0
    assert usage["totalTokens"] == usage["inputTokens"] + usage["outputTokens"]


@pytest.mark.row("C13")
def test_a_model_without_a_price_has_no_cost_instead_of_none_to_pay(hello: JsonObject) -> None:
    assert "costUSD" not in hello["status"]["usage"]


@pytest.mark.row("S0.16")
def test_the_summary_is_what_the_agent_left_as_its_last_words(hello: JsonObject) -> None:
    [attempt] = hello["status"]["attempts"]
    pod = kubectl_json("get", "pod", "--namespace=default", attempt["pod"])
    ended = pod["status"]["containerStatuses"][0]["state"]["terminated"]
    assert hello["status"]["result"]["summary"] == ended["message"].strip() != ""
    assert hello["status"]["result"]["exitCode"] == ended["exitCode"] == 0
    assert attempt["podUID"] == pod["metadata"]["uid"]


@pytest.mark.row("S2.40")
def test_the_ledger_has_the_same_numbers_as_the_status(hello: JsonObject) -> None:
    [row] = ledger_rows(hello["metadata"]["uid"])
    usage = hello["status"]["usage"]
    assert (row["input_tokens"], row["output_tokens"]) == (usage["inputTokens"], usage["outputTokens"])
    found = {key: row[key] for key in ("state", "status", "turn", "metered", "lane", "namespace", "model", "wire_api")}
    assert found == {
        "state": "settled",
        "status": 200,
        "turn": 1,
        "metered": 1,
        "lane": "local",
        "namespace": "default",
        "model": "smollm2",
        "wire_api": "ChatCompletions",
    }


def test_an_ollama_lane_shows_its_model_with_the_context_length(demo: Demo) -> None:
    lane = kubectl_json("get", "modellane", "local", "--namespace=default")
    assert is_true(lane, "Ready")
    assert lane["status"]["models"] == [{"name": "smollm2", "served": True, "contextTokens": 8192}]


def test_the_tables_show_lane_and_run_at_a_glance(hello: JsonObject) -> None:
    lanes = [line.split() for line in kubectl("get", "lanes", "--namespace=default").splitlines()]
    runs = [line.split() for line in kubectl("get", "agruns", "--namespace=default").splitlines()]
    assert lanes[0] == ["NAME", "SERVER", "RUNS", "SLOTS", "QUEUED", "READY", "THROTTLED", "UNTIL", "AGE"]
    assert lanes[1][:-1] == ["local", "Ollama", "0", "4", "0", "True"]
    assert runs[0] == ["NAME", "LANE", "MODEL", "PHASE", "REASON", "TURNS", "TOKENS", "COST", "RETRY", "AT", "AGE"]
    tokens = str(hello["status"]["usage"]["totalTokens"])
    assert runs[1][:-1] == ["hello", "local", "smollm2", "Succeeded", "Completed", "1", tokens]


def test_the_demo_says_each_step_with_its_time_and_ends_with_the_answer(demo: Demo, hello: JsonObject) -> None:
    steps = re.findall(r"^\[(\d)/7\] \S.* \d+\.\d s$", demo.output, flags=re.MULTILINE)
    assert steps == list("1234567")
    assert hello["status"]["result"]["summary"] in demo.output
    assert re.search(r"^ +inputTokens +\d+$", demo.output, flags=re.MULTILINE)
    assert "make demo-down" in demo.output


async def test_the_demo_again_takes_seconds_and_does_not_run_the_run_again(demo: Demo, hello: JsonObject) -> None:
    again = await asyncio.to_thread(run_demo)
    assert again.hello_uid == demo.hello_uid
    assert again.seconds < 60
    assert "agentrun/hello had finished before and is not run again" in again.output
    assert kubectl_json("get", *HELLO)["status"] == hello["status"]
    assert len(ledger_rows(demo.hello_uid)) == 1
