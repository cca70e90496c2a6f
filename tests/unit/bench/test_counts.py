"""What the benchmarks read out of a pod's life and of the API server's counters."""

from __future__ import annotations

from math import inf

import pytest

from bench.player import PodTimes
from bench.refill import refill_seconds
from bench.writes import counted, counted_by_operator, of_the_program


def pod(created: float, ended: float | None = None, lane: str = "a") -> PodTimes:
    return PodTimes(lane, created, ended)


@pytest.mark.parametrize(
    ("pods", "slots", "since", "expected"),
    [
        pytest.param([pod(0, 1), pod(1.5, 3)], 1, 0, [0.5], id="one slot: from the first end to the second pod"),
        pytest.param(
            [pod(0, 5), pod(0, 4), pod(6, 9)],
            2,
            0,
            [2],
            id="two slots: the third pod has the slot that came free first",
        ),
        pytest.param([pod(1.5, 3), pod(0, 1)], 1, 0, [0.5], id="the order in which pods are named does not matter"),
        pytest.param([pod(0, 1), pod(9, 10, "b")], 1, 0, [], id="another lane's pod does not fill the slot"),
        pytest.param([pod(0, 1), pod(2, 3), pod(7, 8)], 1, 2, [4], id="slots that came free too early are left out"),
        pytest.param([pod(0, 1), pod(0, 1)], 2, 0, [], id="without runs that wait nothing is refilled"),
        pytest.param([pod(0), pod(0, 1), pod(2)], 2, 0, [1], id="a pod that has not ended frees nothing"),
        pytest.param([pod(0, 1), pod(2, 3)], 1, inf, [], id="nothing came free in time"),
    ],
)
def test_a_refill_lasts_from_an_end_to_the_next_pod(
    pods: list[PodTimes], slots: int, since: float, expected: list[float]
) -> None:
    assert refill_seconds(pods, slots=slots, since=since) == expected


def sample(verb: str, resource: str, value: str, *, subresource: str = "", code: str = "200") -> str:
    labels = f'code="{code}",component="apiserver",resource="{resource}",subresource="{subresource}",verb="{verb}"'
    return f"apiserver_request_total{{{labels}}} {value}\n"


def test_writes_are_counted_by_verb_and_resource_refused_ones_too() -> None:
    text = (
        "# TYPE apiserver_request_total counter\n"
        + sample("APPLY", "agentruns", "1200", subresource="status")
        + sample("APPLY", "agentruns", "3", subresource="status", code="409")
        + sample("POST", "pods", "1e+03", code="201")
        + sample("LIST", "pods", "7")
        + sample("POST", "events", "99", code="201")
        + sample("PUT", "leases", "12")
    )
    assert counted(text) == {"APPLY agentruns/status": 1203, "POST pods": 1000}


def test_the_program_s_writes_are_what_grew_less_the_benchmark_s_own() -> None:
    before = {"POST pods": 40, "PATCH pods/status": 80, "POST configmaps": 2}
    after = {
        "POST pods": 240,
        "PATCH pods/status": 480,
        "POST agentruns": 200,
        "PUT jobs/status": 5,
        "POST configmaps": 2,
    }
    assert of_the_program(before, after) == {"POST pods": 200, "PUT jobs/status": 5}


def test_the_operator_s_own_count_leaves_out_reads_events_and_leases() -> None:
    samples = {
        ("create", "pods", "201"): 3,
        ("apply", "agentruns", "409"): 1,
        ("delete", "pods", "404"): 1,
        ("get", "pods", "404"): 50,
        ("create", "events", "201"): 60,
        ("replace", "leases", "200"): 70,
    }
    text = "".join(
        f'laneway_kube_requests_total{{code="{code}",resource="{resource}",verb="{verb}"}} {value}.0\n'
        for (verb, resource, code), value in samples.items()
    )
    assert counted_by_operator(text) == 5
