"""What the operator and the gateway say in a run's life: one JSON object a line, whoever speaks."""

from __future__ import annotations

import json

from integration.agents import add_lane, call, start_both
from integration.operators import Program, Stage
from modelserver import ModelServer, Step
from support.standin import Part


def lines(program: Program) -> list[dict[str, object]]:
    """Fails on a line that is no object."""
    read = [json.loads(line) for line in program.log.splitlines()]
    assert all({"ts", "level", "logger", "message"} <= line.keys() for line in read)
    return read


async def test_every_line_of_operator_and_gateway_is_a_json_object(stage: Stage, server: ModelServer) -> None:
    stage.settings |= {"LANEWAY_LOG_FORMAT": "json", "LANEWAY_LOG_LEVEL": "debug"}
    server.play([Step(status=500)])
    gateway = await start_both(stage)
    [operator] = stage.operators
    await add_lane(stage, server, retry={"maxRetries": 0})
    part = stage.node.play("hello", Part.held())
    run = await stage.add_run()
    pod = await stage.has_pod(run, phase="Running")
    assert (await call(stage, pod))[0] == 500
    assert (await call(stage, pod))[0] == 200
    part.released.set()
    await stage.finished(run)
    for program in (gateway, operator):
        program.terminate()
        await stage.left(program)
        assert program.code == 0
    assert "leading" in {line["message"] for line in lines(operator)}
    assert {"model call failed", "gateway leaves"} <= {line["message"] for line in lines(gateway)}


async def test_a_second_gateway_that_cannot_listen_says_so_in_a_line(stage: Stage, server: ModelServer) -> None:
    stage.settings["LANEWAY_LOG_FORMAT"] = "json"
    first = await start_both(stage)
    await stage.any_event(lambda: '"calls"' in first.log)
    stage.settings["LANEWAY_LEDGER_PATH"] = str(stage.folder / "another.db")
    second = stage.start_gateway()
    await stage.left(second)
    assert second.code == 1
    last = lines(second)[-1]
    assert last["level"] in {"error", "critical"}
