"""The dashboard and the rules in a real Prometheus that reads a real operator and a real gateway: each query has data to show."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import yaml

from integration.agents import add_lane, call, reachable_server
from integration.operators import Stage, free_ports
from laneway.kube.resources import SECRETS, JsonObject
from modelserver import ModelServer, Step
from support.dashboards import queries
from support.prometheus import Prometheus, prometheus
from support.standin import Part

RULES = Path(__file__).parents[2] / "helm" / "laneway" / "files" / "rules.yaml"
PRICES = {"inputUSDPerMillion": "1.00", "outputUSDPerMillion": "2.00"}
INTERVAL = "1m"
"""What Grafana makes of $__rate_interval; all of the play is in it, or nearly."""


@pytest.fixture
async def server() -> AsyncIterator[ModelServer]:
    async with reachable_server(models={"smollm2": 8192, "big": 8192}) as server:
        yield server


@pytest.fixture
async def seen(promtool: Path, stage: Stage) -> AsyncIterator[Prometheus]:
    """Prometheus, on an operator and a gateway that have just begun."""
    operator, gateway, own = free_ports(3)
    stage.listen()
    stage.settings["LANEWAY_METRICS_PORT"] = str(operator)
    stage.start()

    async def has_keys() -> bool:
        return bool((await stage.kube.list(SECRETS, namespace=stage.namespace)).items)

    await stage.until(has_keys, answer=True)
    stage.settings["LANEWAY_METRICS_PORT"] = str(gateway)
    stage.start_gateway()
    targets = {"operator": operator, "gateway": gateway}
    program = promtool.with_name("prometheus")
    async with prometheus(program, stage.folder, port=own, rules=RULES, targets=targets) as running:
        yield running


def test_prometheus_can_read_every_query(promtool: Path, tmp_path: Path) -> None:
    rules = [{"record": f"panel:{number}", "expr": one.promql()} for number, one in enumerate(queries())]
    file = tmp_path / "queries.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    done = subprocess.run([str(promtool), "check", "rules", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(rules)} rules found" in done.stdout


async def test_every_panel_shows_something_of_a_day_with_trouble(
    stage: Stage, server: ModelServer, seen: Prometheus
) -> None:
    await _begin(stage, server, seen)
    await _walk(stage, server)
    await _work(stage, server, "worker")
    await seen.sees('laneway_runs_finished_total{lane="second"}')  # nobody sees a first count as a rise
    await _work(stage, server, "another")
    await _fail(stage)
    await _knock(stage)
    for query in queries():
        await seen.sees(query.promql(interval=INTERVAL))
    rules = await seen.rules()
    assert {name: rule["health"] for name, rule in rules.items()} == dict.fromkeys(rules, "ok")
    firing = {name for name, rule in rules.items() if rule["state"] == "firing"}
    assert firing == {"LanewayThrottled"}


async def _begin(stage: Stage, server: ModelServer, seen: Prometheus) -> None:
    """Two lanes, seen at zero: what is counted later is seen as a rise."""
    spend = [{"namespace": stage.namespace, "period": "Month", "limitUSD": "5"}]
    small = [{"name": "smollm2", "pricing": PRICES}]
    await add_lane(stage, server, name="first", models=small, spend=spend)
    await add_lane(
        stage, server, name="second", models=[{"name": "big", "pricing": PRICES}], capacity={"runs": 2, "calls": 1}
    )
    await seen.sees('laneway_cost_usd_total{lane="second"} == 0')
    await seen.sees('laneway_fallbacks_total{lane="first"} == 0')
    await seen.sees('laneway_lane_ready{lane="first"} == 1')


async def _running(stage: Stage, name: str, part: Part, *lanes: str) -> tuple[JsonObject, JsonObject]:
    stage.node.play(name, part)
    run = await stage.add_run(name, spec={"models": [{"lane": lane} for lane in lanes]})
    return run, await stage.has_pod(run, phase="Running")


async def _walk(stage: Stage, server: ModelServer) -> None:
    """A rate limit: the model rests, and the call goes on to the other lane."""
    server.play([Step(status=429, model="smollm2")])
    part = Part.held()
    run, pod = await _running(stage, "walker", part, "first", "second")
    assert (await call(stage, pod))[0] == 200
    part.released.set()
    await stage.finished(run)


async def _work(stage: Stage, server: ModelServer, name: str) -> None:
    """A call that is tried again, and two at once where there is place for one."""
    server.play([Step(status=500), Step(), Step(delay_seconds=1.0)])
    part = Part.held()
    run, pod = await _running(stage, name, part, "second")
    assert (await call(stage, pod))[0] == 200
    answers = await asyncio.gather(call(stage, pod), call(stage, pod))
    assert [status for status, _ in answers] == [200, 200]
    part.released.set()
    await stage.finished(run)


async def _fail(stage: Stage) -> None:
    run, _ = await _running(stage, "failing", Part(exit_code=1), "second")
    await stage.finished(run)


async def _knock(stage: Stage) -> None:
    """A call of somebody whom the gateway does not know."""
    url = stage.settings["LANEWAY_GATEWAY_URL"] + "/v1/chat/completions"
    async with aiohttp.ClientSession() as session, session.post(url, json={}) as answer:
        assert answer.status == 401
