"""``kubectl laneway usage``: by the status of real runs, and by a real ledger that the gateway's own command sums in its pod."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from integration.agents import add_lane, call, start_both
from integration.conftest import Until
from integration.operators import Stage
from integration.plugin import Plugin
from laneway.gateway.ledger.ledger import open_ledger
from laneway.kube.resources import AGENT_RUNS, MODEL_LANES, PODS
from modelserver import ModelServer
from support.kubeletport import kubelet_port
from support.standin import Part

ROOT = Path(__file__).parents[2]
PRICES = {"inputUSDPerMillion": "1.00", "outputUSDPerMillion": "10.00"}
CALL_USD = "0.000082"
"""12 tokens in, 7 out."""


@pytest.fixture
async def used(stage: Stage, server: ModelServer) -> AsyncIterator[None]:
    """A run that called a priced model twice and has ended, one that called a model without a price, and the gateway's pod."""
    await start_both(stage)
    spend = [{"namespace": stage.namespace, "period": "Day", "limitUSD": "0.01"}]
    await add_lane(stage, server, models=[{"name": "smollm2", "pricing": PRICES}], spend=spend)
    await add_lane(stage, server, name="free")
    for name, lane, calls in (("hello", "local", 2), ("other", "free", 1)):
        part = stage.node.play(name, Part.held())
        run = await stage.add_run(name, spec={"models": [{"lane": lane}], "caller": f"c-{name}"})
        pod = await stage.has_pod(run, phase="Running")
        for _ in range(calls):
            assert (await call(stage, pod))[0] == 200
        part.released.set()
        await stage.finished(run)
    async with gateway_port(stage, text=""):
        yield


@asynccontextmanager
async def gateway_port(stage: Stage, *, text: str) -> AsyncIterator[None]:
    """A pod of the gateway, in which commands find the ledger of the stage; every container has written ``text``."""
    path = stage.folder / "ledger.db"
    if not path.exists():
        ledger, _ = open_ledger(path, now_ms=0)
        await ledger.close()
    async with kubelet_port(stage.node, kubeconfig=stage.kubeconfig, text=text) as port:
        port.environment = {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT / "operator"),
            "LANEWAY_LEDGER_PATH": str(path),
        }
        await _gateway_pod(stage)
        yield


async def _gateway_pod(stage: Stage) -> None:
    """The pod that the chart would make, on the node that is played."""
    labels = {"app.kubernetes.io/part-of": "laneway", "app.kubernetes.io/component": "gateway"}
    node = (await stage.kube.list(PODS, namespace=stage.namespace)).items[0]["spec"]["nodeName"]
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "gateway", "labels": labels},
        "spec": {"nodeName": node, "containers": [{"name": "gateway", "image": "laneway:test"}]},
    }
    made = await stage.kube.create(PODS, stage.namespace, body)
    await stage.node.runs(made)


class Usage:
    """``kubectl laneway usage`` of a stage, as JSON."""

    def __init__(self, laneway: Plugin) -> None:
        self._laneway = laneway

    async def __call__(self, *arguments: str) -> list[dict[str, Any]]:
        gateway = ("--gateway-namespace", self._laneway.namespace)
        lines: list[dict[str, Any]] = json.loads(await self._laneway("usage", *arguments, *gateway, "-o", "json"))[
            "lines"
        ]
        return lines


def some(line: dict[str, Any], *names: str) -> list[Any]:
    return [line[name] for name in names]


async def test_the_status_of_runs_tells_who_used_what_and_what_is_unknown(
    stage: Stage, laneway: Plugin, used: None
) -> None:
    hello, other = await Usage(laneway)()
    assert some(hello, "run", "turns", "inputTokens", "outputTokens", "costUSD", "withoutPrice") == [
        "hello", 2, 24, 14, "0.000164", 0,
    ]  # fmt: skip
    assert some(other, "run", "turns", "inputTokens", "costUSD", "withoutPrice") == ["other", 1, 12, None, 1]
    lanes = {line["lane"]: line["costUSD"] for line in await Usage(laneway)("--by", "lane")}
    assert lanes == {f"{stage.namespace}/local": "0.000164", f"{stage.namespace}/free": None}
    [model] = await Usage(laneway)("--by", "model")
    assert some(model, "model", "runs", "inputTokens", "costUSD", "withoutPrice") == ["smollm2", 2, 36, "0.000164", 1]
    assert [line["caller"] for line in await Usage(laneway)("--by", "caller")] == ["c-hello", "c-other"]
    [one] = await Usage(laneway)("hello")
    assert one == hello
    shown = (await laneway("usage", "--by", "namespace")).splitlines()
    assert re.split(" {2,}", shown[0])[-2:] == ["COST (USD)", "OF LIMIT"]
    assert shown[1].split()[1:] == ["2", "3", "36", "21", "at", "least", "0.000164", "1", "%"]
    assert shown[2] == "(1 run has no known cost: it is missing in the sums)"
    assert shown[3] == "(runs that exist, by their status; --ledger adds those that were deleted)"


async def test_the_ledger_tells_days_and_runs_that_were_deleted(stage: Stage, laneway: Plugin, used: None) -> None:
    run = await stage.run("hello")
    await stage.kube.delete(AGENT_RUNS, stage.namespace, "hello")
    [day] = await Usage(laneway)("--by", "day")
    assert some(day, "runs", "calls", "inputTokens", "costUSD", "withoutPrice") == [2, 3, 36, "0.000164", 1]
    assert day["day"] == run["metadata"]["creationTimestamp"][:10]
    by_run = {line["run"]: line["calls"] for line in await Usage(laneway)("--ledger")}
    assert by_run == {run["metadata"]["uid"]: 2, "other": 1}
    [gone] = await Usage(laneway)(run["metadata"]["uid"], "--ledger", "--by", "model")
    assert some(gone, "model", "calls") == ["smollm2", 2]
    assert await Usage(laneway)("--since", "2100-01-01") == []
    table = await laneway("usage", "--since", "24h", "--by", "namespace", "--gateway-namespace", stage.namespace)
    assert table.splitlines()[0].split() == [
        "NAMESPACE", "RUNS", "CALLS", "INPUT", "OUTPUT", "COST", "(USD)", "OF", "LIMIT",
    ]  # fmt: skip
    assert "(1 call has no known cost: it is missing in the sums)" in table


async def test_csv_has_what_json_has(stage: Stage, laneway: Plugin, used: None, until: Until) -> None:
    async def spend_is_told() -> bool:
        lane = await stage.kube.get(MODEL_LANES, stage.namespace, "local")
        return [one["usedUSD"] for one in lane["status"].get("spend", ())] == ["0.000164"]

    await until(spend_is_told)
    lines = await Usage(laneway)("--by", "lane")
    read = list(csv.DictReader(io.StringIO(await laneway("usage", "--by", "lane", "-o", "csv"))))
    assert read == [{name: "" if value is None else str(value) for name, value in line.items()} for line in lines]


async def test_who_may_not_exec_is_told_what_it_takes_and_what_goes_without(
    stage: Stage, laneway: Plugin, used: None, guest: str
) -> None:
    here = ("--gateway-namespace", stage.namespace, "--kubeconfig", guest)
    assert "hello" in await laneway("usage", *here)
    refused = await laneway.ask("usage", "--by", "day", *here)
    assert (refused.code, refused.out) == (1, "")
    assert "you may not do that" in refused.err
    assert "leave --since, --ledger and --by day away" in refused.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(["--since", "yesterday"], "'yesterday' is no span, date or time; write 24h", id="no time"),
        pytest.param(["--ledger", "-l", "a=b"], "the ledger knows no labels", id="labels of the ledger"),
        pytest.param(["--ledger"], "no gateway runs in namespace laneway-system", id="the gateway is elsewhere"),
        pytest.param(["nobody"], "there is no AgentRun nobody", id="no such run"),
    ],
)
async def test_what_cannot_be_summed_is_said(stage: Stage, laneway: Plugin, arguments: list[str], said: str) -> None:
    refused = await laneway.ask("usage", *arguments)
    assert refused.code == 1
    assert said in refused.err
