"""The chart's alert rules as Prometheus' own promtool evaluates them: each just under its bound, and at it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
LANE = 'namespace="team-a",lane="hosted"'
MODEL = f'{LANE},model="big"'

Series = dict[str, str]
"""Values minute by minute, by series, in promtool's notation: ``0+2x9`` is 0, 2, 4 ... 18."""


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    """The chart's rules."""
    return Path(shutil.copy(ROOT / "helm" / "laneway" / "files" / "rules.yaml", tmp_path))


def throttled(reason: str, values: str) -> Series:
    return {f'laneway_upstream_throttled_total{{{MODEL},reason="{reason}"}}': values}


def calls(**per_minute: float) -> Series:
    """So many calls a minute with each status."""
    return {
        f'laneway_requests_total{{{MODEL},code="{code.lstrip("c")}"}}': f"0+{n}x20" for code, n in per_minute.items()
    }


def ends(**per_minute: float) -> Series:
    """So many runs a minute that end for each reason."""
    outcomes = {"Completed": "Succeeded", "Cancelled": "Cancelled"}
    return {
        f'laneway_runs_finished_total{{{LANE},reason="{reason}",outcome="{outcomes.get(reason, "Failed")}"}}': f"0+{n}x90"
        for reason, n in per_minute.items()
    }


def waits(*, short: float, long: float) -> Series:
    """So many runs a minute that waited for less than 15 minutes, and for more than that but less than an hour."""
    name, rest = "laneway_run_wait_seconds", f"0+{short + long}x90"
    buckets = {"900": f"0+{short}x90", "3600": rest, "+Inf": rest}
    return {
        **{f'{name}_bucket{{{LANE},le="{le}"}}': values for le, values in buckets.items()},
        f"{name}_count{{{LANE}}}": rest,
    }


def spans(**values: str) -> Series:
    return {f'laneway_trace_spans_total{{outcome="{outcome}"}}': counts for outcome, counts in values.items()}


def spend(used: float) -> Series:
    """What is used of a bound of 50 dollars."""
    where = f'{LANE},spender="team-b",period="Month"'
    return {f"laneway_lane_spend_usd{{{where}}}": f"{used}x9", f"laneway_lane_spend_limit_usd{{{where}}}": "50x9"}


UNTIL = f"laneway_lane_throttled_until_timestamp_seconds{{{LANE}}}"
READY = f"laneway_lane_ready{{{LANE}}}"
FAILED = 'laneway_reconciles_total{kind="run",outcome="failed"}'
FULL = 'laneway_ledger_errors_total{reason="Full"}'
OLD = "laneway_gateway_view_age_seconds"
OPEN = "laneway_gateway_open_calls"
ONE, TWO = 'laneway_leader{pod="one"}', 'laneway_leader{pod="two"}'
NEW_KEY = throttled("AuthFailed", "_x5 1x40")

CASES = [
    pytest.param("LanewayNoLeader", {ONE: "0x9", TWO: "1x9"}, 9, False, id="one of two replicas leads"),
    pytest.param("LanewayNoLeader", {ONE: "0x9", TWO: "1 1 0x7"}, 3, False, id="nobody has led for a minute"),
    pytest.param("LanewayNoLeader", {ONE: "0x9", TWO: "1 1 0x7"}, 4, True, id="nobody has led for two minutes"),
    pytest.param("LanewayNoLeader", {}, 2, True, id="there is no operator"),
    pytest.param("LanewayGatewayDown", {OPEN: "0x9"}, 9, False, id="a gateway without calls"),
    pytest.param("LanewayGatewayDown", {OPEN: "0 0 _x7"}, 7, False, id="a gateway that was there five minutes ago"),
    pytest.param("LanewayGatewayDown", {}, 1, False, id="no gateway for a minute"),
    pytest.param("LanewayGatewayDown", {}, 2, True, id="no gateway for two minutes"),
    pytest.param("LanewayPassesFail", {FAILED: "3x30"}, 20, False, id="passes failed long ago"),
    pytest.param("LanewayPassesFail", {FAILED: "3x9 4x20"}, 15, True, id="a pass failed"),
    pytest.param("LanewayGatewayBehind", {OLD: "180x9"}, 5, False, id="a view of three minutes"),
    pytest.param("LanewayGatewayBehind", {OLD: "181x9"}, 5, True, id="a view that is older"),
    pytest.param("LanewayLedgerFails", {FULL: "0x20"}, 10, False, id="a ledger that is well"),
    pytest.param("LanewayLedgerFails", {FULL: "0x5 1x9"}, 8, True, id="a ledger that cannot be written"),
    pytest.param("LanewayLaneNotReady", {READY: "1 0x9"}, 5, False, id="a lane that is not ready for four minutes"),
    pytest.param("LanewayLaneNotReady", {READY: "1 0x9"}, 6, True, id="a lane that is not ready for five"),
    pytest.param("LanewayLaneNotReady", {READY: "0x3 1x9"}, 9, False, id="a lane that is ready again"),
    pytest.param("LanewayKeyRefused", NEW_KEY, 4, False, id="no key was refused"),
    pytest.param("LanewayKeyRefused", NEW_KEY, 6, True, id="the first refusal of a key"),
    pytest.param("LanewayKeyRefused", NEW_KEY, 40, False, id="a refusal long ago"),
    pytest.param("LanewayKeyRefused", throttled("AuthFailed", "1x20 2x20"), 25, True, id="another refusal"),
    pytest.param("LanewayKeyRefused", throttled("RateLimitModel", "_x5 1x40"), 6, False, id="a rate limit is no key"),
    pytest.param("LanewayThrottled", {UNTIL: "300x9"}, 5, False, id="a rest that is over in this second"),
    pytest.param("LanewayThrottled", {UNTIL: "301x9"}, 5, True, id="a rest that is over in the next"),
    pytest.param("LanewayThrottledForLong", {UNTIL: "3900x9"}, 5, False, id="a rest of an hour"),
    pytest.param("LanewayThrottledForLong", {UNTIL: "3901x9"}, 5, True, id="a rest of more"),
    pytest.param("LanewayModelServerFails", calls(c200=8.1, c504=1.9), 15, False, id="19 % of 100 calls"),
    pytest.param("LanewayModelServerFails", calls(c200=8, c504=2), 15, True, id="20 % of 100 calls"),
    pytest.param("LanewayModelServerFails", calls(c200=8, c502=1, c504=1), 15, True, id="20 % with both statuses"),
    pytest.param("LanewayModelServerFails", calls(c502=0.9), 15, False, id="9 calls, however many failed"),
    pytest.param("LanewayModelServerFails", calls(c502=1), 15, True, id="10 calls"),
    pytest.param("LanewayModelServerFails", calls(c200=1, c429=9), 15, False, id="rate limits are answers"),
    pytest.param("LanewayRunsTimeOut", ends(Completed=8.1, AttemptTimeout=1.9), 70, False, id="19 % of 600 runs"),
    pytest.param("LanewayRunsTimeOut", ends(Completed=8, IdleTimeout=1, AttemptTimeout=1), 70, True, id="20 % of 600"),
    pytest.param("LanewayRunsTimeOut", ends(IdleTimeout=0.15), 70, False, id="9 runs, however many took too long"),
    pytest.param("LanewayRunsTimeOut", ends(StartTimeout=0.2), 70, True, id="12 runs that did not start"),
    pytest.param("LanewayRunsTimeOut", ends(Completed=5, Failed=5), 70, False, id="failures are no time-outs"),
    pytest.param("LanewayKeyRefused", throttled("AuthFailed", "0x40"), 20, False, id="a count of keys that is zero"),
    pytest.param("LanewayKeyRefused", throttled("AuthFailed", "0x5 1x40"), 6, True, id="a count that rises from zero"),
    pytest.param("LanewayCallsThrottled", calls(c200=8.1, c429=1.9), 15, False, id="19 % of 100 calls turned away"),
    pytest.param("LanewayCallsThrottled", calls(c200=8, c429=2), 15, True, id="20 % of 100 calls turned away"),
    pytest.param("LanewayCallsThrottled", calls(c429=0.9), 15, False, id="9 calls, however many turned away"),
    pytest.param("LanewayRunsWaitLong", waits(short=9.1, long=0.9), 70, False, id="9 % of runs wait long"),
    pytest.param("LanewayRunsWaitLong", waits(short=8.9, long=1.1), 70, True, id="11 % of runs wait long"),
    pytest.param("LanewayRunsWaitLong", waits(short=0, long=0.15), 70, False, id="9 runs, however long they wait"),
    pytest.param("LanewayRunsFail", ends(Completed=5.1, Failed=4.9), 70, False, id="49 % of 600 runs fail"),
    pytest.param("LanewayRunsFail", ends(Completed=5, Failed=5), 70, True, id="50 % of 600 runs fail"),
    pytest.param("LanewayRunsFail", ends(Completed=2, Failed=1, ChainExhausted=1), 70, True, id="for two reasons"),
    pytest.param("LanewayRunsFail", ends(Completed=1, Cancelled=9), 70, False, id="runs that somebody stopped"),
    pytest.param("LanewayRunsFail", ends(Failed=0.15), 70, False, id="9 runs, however many fail"),
    pytest.param("LanewayTracesLost", spans(sent="0+9x20", failed="0x20"), 15, False, id="spans that all arrive"),
    pytest.param("LanewayTracesLost", spans(sent="0+9x20", failed="0x9 1x10"), 15, True, id="spans that do not"),
    pytest.param("LanewayTracesLost", spans(dropped="0x9 3x10"), 15, True, id="spans that found no room"),
    pytest.param("LanewaySpendNearlyReached", spend(44.99), 5, False, id="just under 90 % of a bound"),
    pytest.param("LanewaySpendNearlyReached", spend(45), 5, True, id="90 % of a bound"),
]


@pytest.mark.row("S3.35")
@pytest.mark.parametrize(("alert", "series", "minute", "fires"), CASES)
def test_a_rule_fires_at_its_bound_and_not_under_it(
    promtool: Path, rules: Path, alert: str, series: Series, minute: int, *, fires: bool
) -> None:
    query = f'count(ALERTS{{alertname="{alert}",alertstate="firing"}})'
    expected: list[dict[str, Any]] = [{"labels": "{}", "value": 1}] if fires else []
    case = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [{"expr": query, "eval_time": f"{minute}m", "exp_samples": expected}],
    }
    file = rules.with_name("case.yaml")
    file.write_text(yaml.safe_dump({"rule_files": [rules.name], "evaluation_interval": "1m", "tests": [case]}))
    done = subprocess.run([str(promtool), "test", "rules", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.row("S3.35")
def test_each_rule_is_tried_just_under_its_bound_and_at_it(rules: Path) -> None:
    [group] = yaml.safe_load(rules.read_text())["groups"]
    tried = {(case.values[0], case.values[3]) for case in CASES}
    assert tried == {(rule["alert"], fires) for rule in group["rules"] for fires in (False, True)}
