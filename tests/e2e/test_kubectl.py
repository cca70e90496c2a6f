"""``kubectl laneway`` with a real kubelet: a log that is followed through two pods, and the ledger by exec in the gateway's pod."""

from __future__ import annotations

import asyncio
import json
import os
import sys

from e2e import agents
from e2e.commands import ROOT, attempt
from e2e.scripted import Scripted
from e2e.stage import Stage
from modelserver.shapes import INPUT_TOKENS, OUTPUT_TOKENS

TWO_ROUNDS = """
echo "begin of round $LANEWAY_ROUND"
sleep 2
echo "end of round $LANEWAY_ROUND"
"""
PRICED = {"name": "scripted", "pricing": {"inputUSDPerMillion": "1", "outputUSDPerMillion": "10"}}
LANEWAY = (sys.executable, "-m", "laneway.cli.main")


async def test_a_log_is_followed_from_pod_to_pod_as_the_kubelet_tells_it(
    stage: Stage, scripted: Scripted, test_image: str
) -> None:
    await stage.add_lane()
    await stage.add_run({"agent": agents.shell(TWO_ROUNDS), "rounds": {"max": 2, "delaySeconds": 1}})
    process = await asyncio.create_subprocess_exec(
        *LANEWAY,
        *("logs", "run", "-f", "-n", stage.namespace),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT / "operator")},
    )
    out, err = await asyncio.wait_for(process.communicate(), 120)
    assert process.returncode == 0, err
    assert out.decode().splitlines() == [
        "begin of round 1",
        "end of round 1",
        "begin of round 2",
        "end of round 2",
    ]
    told = [line.split(", pod ")[0] for line in err.decode().splitlines() if line.startswith("attempt ")]
    assert told == [f"attempt {number} of run on lane/scripted" for number in (1, 2)]
    assert err.decode().splitlines()[-1].startswith("run ended well as Completed")


async def test_the_ledger_is_summed_in_the_gateway_s_pod(stage: Stage, scripted: Scripted) -> None:
    await stage.add_lane({"models": [PRICED]})
    await stage.add_run()
    [run] = await stage.succeeded()
    code, said, complained = attempt(
        *LANEWAY, "usage", "--since", "1h", "--by", "lane", "-n", stage.namespace, "-o", "json"
    )
    assert code == 0, complained
    [line] = json.loads(said)["lines"]
    assert (line["lane"], line["runs"], line["calls"]) == (f"{stage.namespace}/lane", 1, 1)
    assert (line["inputTokens"], line["outputTokens"]) == (INPUT_TOKENS, OUTPUT_TOKENS)
    assert line["costUSD"] == run["status"]["usage"]["costUSD"]
