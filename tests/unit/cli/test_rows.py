"""Lines of the tables: ages, columns, colours, and what is said of each model of a lane."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

import manifests
from laneway.api.modellane import AccountStatus, LaneModelStatus, ModelLaneSpec, ModelLaneStatus
from laneway.api.reasons import Cause, ResetSource
from laneway.cli.rows import COLOURS, NamedLane, accounts_by_lane, lane_row, run_row
from laneway.cli.tables import age, table
from support.builders import NOW, at, ready

CREATED = "2026-03-01T11:57:00Z"


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        pytest.param(-5, "0s", id="a clock that is behind shows no negative age"),
        pytest.param(119, "119s", id="seconds up to two minutes"),
        pytest.param(125, "2m5s", id="minutes and seconds up to ten minutes"),
        pytest.param(720, "12m", id="minutes up to three hours"),
        pytest.param(3 * 3600 + 60, "3h1m", id="hours and minutes up to eight hours"),
        pytest.param(9 * 3600 + 60, "9h", id="hours up to two days"),
        pytest.param(3 * 86_400 + 3600, "3d1h", id="days and hours up to eight days"),
        pytest.param(9 * 86_400, "9d", id="days up to two years"),
        pytest.param(3 * 365 * 86_400 + 86_400, "3y1d", id="years and days"),
    ],
)
def test_ages_are_those_of_kubectl(seconds: int, expected: str) -> None:
    assert age(timedelta(seconds=seconds)) == expected


def test_a_table_is_aligned_and_has_colours_only_when_it_is_given_them() -> None:
    rows = [("hello", "Failed", ""), ("a", "Running", "x")]
    plain = "NAME    PHASE     NOTE\nhello   Failed\na       Running   x\n"
    assert table(("NAME", "PHASE", "NOTE"), rows) == plain
    coloured = table(("NAME", "PHASE", "NOTE"), rows, colours=COLOURS)
    assert "\x1b[31mFailed\x1b[0m" in coloured
    assert "\x1b[32mRunning\x1b[0m   x\n" in coloured


def run(**status: Any) -> dict[str, Any]:
    labels = {"laneway.dev/retry-of": "first"}
    obj = manifests.run(name="nightly", namespace="team-a", creationTimestamp=CREATED, labels=labels)
    return {**obj, "status": status} if status else obj


@pytest.mark.parametrize(
    ("obj", "flags", "expected"),
    [
        pytest.param(
            run(),
            {},
            ("nightly", "", "", "", "", "", "", "", "", "3m"),
            id="a run that nobody looked at has a name and an age",
        ),
        pytest.param(
            run(
                step={"lane": "qwen", "namespace": "team-a", "model": "qwen3"},
                phase="BackingOff",
                reason="BackingOff",
                usage={"turns": 0, "totalTokens": 12, "costUSD": "0.10"},
                nextAttemptTime="2026-03-01T12:05:00Z",
            ),
            {},
            ("nightly", "qwen", "qwen3", "BackingOff", "BackingOff", "0", "12", "0.10", "12:05:00Z", "3m"),
            id="a known zero is shown, and the time of the next attempt",
        ),
        pytest.param(
            run(
                step={"lane": "qwen", "namespace": "models"},
                queue={"position": 3},
                attempt=2,
                attempts=[{"pod": "p-1"}, {"pod": "p-2"}],
            ),
            {"everywhere": True, "wide": True},
            ("team-a", "nightly", "models/qwen", "", "", "", "", "", "", "", "3m", "3", "2", "p-2", "first"),
            id="wide, of all namespaces, on a lane of another one",
        ),
    ],
)
def test_a_line_of_a_run(obj: dict[str, Any], flags: dict[str, bool], expected: tuple[str, ...]) -> None:
    assert run_row(obj, NOW, **{"everywhere": False, "wide": False, **flags}) == expected


def lane(name: str = "hosted", *, spec: dict[str, Any] | None = None, **status: Any) -> NamedLane:
    plain = manifests.lane({"models": [{"name": "big"}, {"name": "small"}], "capacity": {"runs": 8}, **(spec or {})})
    known = ModelLaneStatus(**{"conditions": (ready(),), **status})
    return NamedLane("models", name, at(-180), ModelLaneSpec.model_validate(plain["spec"]), known)


COOLING = LaneModelStatus(
    name="big",
    cooldown_until=at(60),
    cooldown_reason=Cause.RATE_LIMIT_ACCOUNT,
    cooldown_source=ResetSource.RETRY_AFTER,
)
ACCOUNT = AccountStatus(
    cooldown_until=at(600), reason=Cause.QUOTA_EXHAUSTED, source=ResetSource.SERVER_EVENT, settled_time=at(-5)
)


def models_of(*lanes: NamedLane) -> str:
    return lane_row(lanes[0], accounts_by_lane(lanes)["models", "hosted"], NOW, everywhere=False, wide=False)[-1]


@pytest.mark.parametrize(
    ("lanes", "expected"),
    [
        pytest.param([lane()], "big free, small free", id="free models"),
        pytest.param(
            [lane(conditions=())], "big, small", id="a lane that nobody looked at: of its models nothing is known"
        ),
        pytest.param(
            [lane(models=(COOLING,))],
            "big cooling until 12:01:00Z (rate limit of the account, as the server said), small free",
            id="a cooling model, until when, why, and who says so",
        ),
        pytest.param(
            [lane(models=(COOLING.model_copy(update={"cooldown_until": at(-1)}),))],
            "big free, small free",
            id="a cooldown that is over",
        ),
        pytest.param(
            [lane(models=(LaneModelStatus(name="small", served=False),))],
            "big free, small not served",
            id="a model that is not served",
        ),
        pytest.param(
            [lane(spec={"cooldowns": [{"model": "small", "mode": "Hold"}]})],
            "big free, small not used for now (by hand)",
            id="a model that is held by hand",
        ),
        pytest.param(
            [lane(spec={"account": "one"}), lane("other", spec={"account": "one"}, account=ACCOUNT)],
            "big cooling until 12:10:00Z (quota used up, as the server said),"
            " small cooling until 12:10:00Z (quota used up, as the server said)",
            id="the account cools, as was learned on another lane of it",
        ),
        pytest.param(
            [lane(spec={"account": "one"}), lane("other", spec={"account": "two"}, account=ACCOUNT)],
            "big free, small free",
            id="another account cools",
        ),
        pytest.param([lane(spec={"suspend": True})], "suspended; big free, small free", id="a suspended lane"),
    ],
)
def test_what_is_said_of_the_models_of_a_lane(lanes: list[NamedLane], expected: str) -> None:
    assert models_of(*lanes) == expected


def test_a_line_of_a_lane() -> None:
    busy = lane(active_runs=7, queued_runs=3, backing_off_runs=0)
    cells = lane_row(busy, [], NOW, everywhere=True, wide=True)
    assert cells == (
        *("models/hosted", "True", "7/8", "3", "0", "big free, small free"),
        *("BackendReachable", "Ollama", "http://ollama:11434", "3m"),
    )
    assert lane_row(lane(conditions=()), [], NOW, everywhere=False, wide=False)[1:5] == ("", "", "", "")
