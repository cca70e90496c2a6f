"""The ledger's export as a person takes it from the cluster: ``kubectl exec`` in the gateway's pod, while the gateway writes."""

from __future__ import annotations

import csv
import io
import json
import secrets

import pytest

from e2e import release
from e2e.commands import attempt, kubectl
from e2e.release import SYSTEM
from e2e.scripted import Scripted
from e2e.stage import Stage
from modelserver.shapes import INPUT_TOKENS, OUTPUT_TOKENS

EXPORT = ("exec", "-n", SYSTEM, "deploy/laneway-gateway", "--", "python3", "-m", "laneway", "ledger", "export")
"""As docs/operate.md has it."""
PRICED = {"name": "scripted", "pricing": {"inputUSDPerMillion": "1", "outputUSDPerMillion": "10"}}


@pytest.mark.row("S2.40", "C13", "B19")
async def test_the_export_has_every_call_as_lines_and_as_a_table(stage: Stage, scripted: Scripted) -> None:
    prompt = f"an errand {secrets.token_hex(8)}"
    scripted.play(steps=[{"status": 500}])
    await stage.add_lane({"models": [PRICED]})
    await stage.add_run({"prompt": prompt})
    [run] = await stage.succeeded()
    uid = run["metadata"]["uid"]

    text = kubectl(*EXPORT, "--run", uid)
    failed, answered = [json.loads(line) for line in text.splitlines()]
    assert (failed["status"], failed["input_tokens"], failed["cost_usd"], failed["turns"]) == (500, None, None, 0)
    assert answered["status"] == 200
    assert (answered["input_tokens"], answered["output_tokens"]) == (INPUT_TOKENS, OUTPUT_TOKENS)
    assert (answered["cost_usd"], answered["turns"]) == (run["status"]["usage"]["costUSD"], 1)
    assert (answered["namespace"], answered["lane"], answered["model"]) == (stage.namespace, "lane", "scripted")
    assert [row["id"] for row in release.ledger_rows(uid)] == [failed["id"], answered["id"]]

    table = kubectl(*EXPORT, "--format", "csv", "--run", uid)
    rows = list(csv.DictReader(io.StringIO(table)))
    assert [list(row) for row in rows] == [list(failed), list(answered)]
    assert [written(row) for row in (failed, answered)] == rows
    assert prompt not in text + table


async def test_the_export_takes_a_namespace_and_times(stage: Stage, scripted: Scripted) -> None:
    await stage.add_lane()
    await stage.add_run()
    [run] = await stage.succeeded()
    [row] = [json.loads(line) for line in kubectl(*EXPORT, "--namespace", stage.namespace).splitlines()]
    assert row["run_uid"] == run["metadata"]["uid"]
    began = row["started_time"]
    assert json.loads(kubectl(*EXPORT, "--namespace", stage.namespace, "--since", began)) == row
    assert kubectl(*EXPORT, "--namespace", stage.namespace, "--until", began) == ""
    code, said, complained = attempt("kubectl", *EXPORT, "--since", "yesterday")
    assert (code, said) == (2, "")
    assert "--since must be a date or a time like 2026-11-21T09:30:00Z, not 'yesterday'" in complained


def written(row: dict[str, object]) -> dict[str, str]:
    """The same row as a table has it: what is unknown is empty."""
    words = {None: "", True: "true", False: "false"}
    return {
        name: words[value] if isinstance(value, bool) or value is None else str(value) for name, value in row.items()
    }
